package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// devices are those of a scenario, a third on each protocol, every second one with its own times.
type devices struct {
	firmware []*Firmware
	ids      []string
	protocol []string // of each
}

func newDevices(ctx context.Context, t *testing.T, doors Doors, tenant *Tenant, n int) *devices {
	t.Helper()
	d := &devices{}
	tokens := make([]string, n)
	for i := range n {
		tokens[i] = fmt.Sprintf("TOKEN%03d%012d", i, rand.Int64N(1e12))
	}
	ids, err := tenant.NewDevices(ctx, "meter", tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range tokens {
		name, id := fmt.Sprintf("meter-%03d", i), ids[i]
		device := Firmware{Token: token, Account: ledger.NewDevice(name, i%2 == 0), Pause: 40 * time.Millisecond}
		var one *Firmware
		protocol := [...]string{"MQTT", "HTTP", "CoAP"}[i%3]
		switch protocol {
		case "MQTT":
			one = NewMQTTFirmware(device, doors.MQTT)
		case "HTTP":
			one = NewHTTPFirmware(device, doors.HTTP)
		default:
			one = NewCoAPFirmware(device, doors.CoAP)
		}
		d.firmware, d.ids, d.protocol = append(d.firmware, one), append(d.ids, id), append(d.protocol, protocol)
	}
	return d
}

// run starts all devices. stop has them finish what they have begun, and waits for that. A test that ends without ends them.
func (d *devices) run(ctx context.Context, t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan struct{})
	var running sync.WaitGroup
	for i, device := range d.firmware {
		running.Go(func() {
			if err := device.Run(ctx, asked, 1+i%4); err != nil && !t.Failed() {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
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

func (d *devices) awaitAcknowledged(ctx context.Context, t *testing.T, want int) {
	t.Helper()
	for d.acknowledged() < want {
		select {
		case <-ctx.Done():
			t.Fatalf("only %d of %d readings acknowledged: %v", d.acknowledged(), want, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// check queries every device, waiting for the backlog to be processed, and reports what is wrong.
func (d *devices) check(ctx context.Context, t *testing.T, tenant *Tenant) ledger.Verdict {
	t.Helper()
	var total ledger.Verdict
	for i, device := range d.firmware {
		verdict, err := tenant.Settled(ctx, d.ids[i], device.Account)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range verdict.Problems {
			t.Errorf("%s (%s): %s", device.Account.Name, d.protocol[i], problem)
		}
		total.Add(verdict)
	}
	return total
}

// startPlatform starts a platform for a test of two minutes at most, and makes a tenant. Context and platform end with the test.
func startPlatform(t *testing.T) (context.Context, Platform, *Tenant) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	platform := newPlatform(ctx, t)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, platform, firstTenant(ctx, t, platform)
}

// firstAdministrator logs in with what the first start printed.
func firstAdministrator(ctx context.Context, t *testing.T, platform Platform) *Tenant {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	user, password, err := platform.FirstLogin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	administrator, err := Login(ctx, "http://"+platform.Doors().HTTP, user, password)
	if err != nil {
		t.Fatal(err)
	}
	return administrator
}

// firstTenant makes a tenant.
func firstTenant(ctx context.Context, t *testing.T, platform Platform) *Tenant {
	t.Helper()
	tenant, err := firstAdministrator(ctx, t, platform).NewTenant(ctx, unique("acme"))
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

// unique makes a name that no other scenario on the same data has.
func unique(name string) string { return fmt.Sprintf("%s-%012d", name, rand.Int64N(1e12)) }
