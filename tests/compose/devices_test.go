//go:build compose

package compose

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system"
	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// devices are a third on each protocol, all through the published ports, every second one with its own times.
type devices struct {
	firmware []*system.Firmware
	ids      []string
}

var protocols = [...]string{"MQTT", "HTTP", "CoAP"}

func newDevices(ctx context.Context, t *testing.T, f *Fleet, tenant *system.Tenant, count int) *devices {
	t.Helper()
	d := &devices{}
	for i := range count {
		name := fmt.Sprintf("meter-%03d", i)
		token := fmt.Sprintf("TOKEN%03d%012d", i, rand.Int64N(1e12))
		id, err := tenant.NewDevice(ctx, name, token)
		if err != nil {
			t.Fatal(err)
		}
		one := system.Firmware{Token: token, Account: ledger.NewDevice(name, i%2 == 0), Pause: 100 * time.Millisecond}
		switch protocols[i%3] {
		case "MQTT":
			d.firmware = append(d.firmware, system.NewMQTTFirmware(one, f.MQTT))
		case "HTTP":
			d.firmware = append(d.firmware, system.NewHTTPFirmware(one, f.HTTP))
		default:
			d.firmware = append(d.firmware, system.NewCoAPFirmware(one, f.CoAP))
		}
		d.ids = append(d.ids, id)
	}
	return d
}

// run starts all devices. stop has them finish what they have begun, and waits for that.
func (d *devices) run(ctx context.Context, t *testing.T) (stop func()) {
	asked := make(chan struct{})
	var running sync.WaitGroup
	for i, device := range d.firmware {
		running.Go(func() {
			if err := device.Run(ctx, asked, 1+i%4); err != nil {
				t.Error(err)
			}
		})
	}
	return func() {
		close(asked)
		running.Wait()
	}
}

func (d *devices) acknowledged() int {
	sum := 0
	for _, device := range d.firmware {
		sum += device.Account.AckedCount()
	}
	return sum
}

// goOn waits until every device has had another reading acknowledged.
func (d *devices) goOn(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i, device := range d.firmware {
		before := device.Account.AckedCount()
		for device.Account.AckedCount() == before {
			select {
			case <-ctx.Done():
				t.Fatalf("%s (%s) has no reading acknowledged any more", device.Account.Name, protocols[i%3])
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// check queries every device, waiting for the backlog to be handled, and reports what is wrong.
func (d *devices) check(ctx context.Context, t *testing.T, tenant *system.Tenant) ledger.Verdict {
	t.Helper()
	var total ledger.Verdict
	began := time.Now()
	for i, device := range d.firmware {
		verdict, err := tenant.Settled(ctx, d.ids[i], device.Account)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range verdict.Problems {
			t.Errorf("%s (%s): %s", device.Account.Name, protocols[i%3], problem)
		}
		total.Add(verdict)
	}
	t.Logf("all was handled %s after the load ended", time.Since(began).Round(time.Second))
	return total
}
