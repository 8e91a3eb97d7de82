package system

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

const (
	ledgerDevices = 210
	defaultKills  = 2 // LEDGER_KILLS asks for more
)

// TestLedger kills the process under devices of all three protocols, again and again, and
// holds what was acknowledged against what a query shows.
func TestLedger(t *testing.T) {
	kills := times(t, "LEDGER_KILLS", defaultKills)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*20*time.Second)
	defer cancel()
	process := NewStandalone(t)
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, process)
	fleet := newFleet(ctx, t, process, tenant, ledgerDevices)

	stop := fleet.run(ctx, t)
	for kill := range kills {
		before := fleet.acknowledged()
		fleet.awaitAcknowledged(ctx, t, before+len(fleet.firmware))
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond) // the moment is to be any
		process.Kill()
		if err := process.Start(ctx); err != nil {
			t.Fatalf("start after kill %d: %v", kill+1, err)
		}
	}
	fleet.awaitAcknowledged(ctx, t, fleet.acknowledged()+len(fleet.firmware))
	stop()
	total := fleet.check(ctx, t, tenant)
	t.Logf("%d kills, %d devices: sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, resent %d",
		kills, len(fleet.firmware), total.Sent, total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, total.Resent)
}

// times is how often a scenario repeats what it is about: what the environment asks for, else usual.
func times(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// fleet is the devices of the scenario, a third on each protocol, every second one with its own times.
type fleet struct {
	firmware []*Firmware
	ids      []string
}

func newFleet(ctx context.Context, t *testing.T, s *Standalone, tenant *Tenant, devices int) *fleet {
	t.Helper()
	f := &fleet{}
	for i := range devices {
		name := fmt.Sprintf("meter-%03d", i)
		token := fmt.Sprintf("TOKEN%03d%012d", i, rand.Int64N(1e12))
		id, err := tenant.NewDevice(ctx, name, token)
		if err != nil {
			t.Fatal(err)
		}
		device := Firmware{Token: token, Account: ledger.NewDevice(name, i%2 == 0), Pause: 40 * time.Millisecond}
		var one *Firmware
		switch i % 3 {
		case 0:
			one = NewMQTTFirmware(device, s.MQTT)
		case 1:
			one = NewHTTPFirmware(device, s.HTTP)
		default:
			one = NewCoAPFirmware(device, s.CoAP)
		}
		f.firmware = append(f.firmware, one)
		f.ids = append(f.ids, id)
	}
	return f
}

// run starts all devices. stop has them finish what they have begun, and waits for that.
func (f *fleet) run(ctx context.Context, t *testing.T) (stop func()) {
	asked := make(chan struct{})
	var running sync.WaitGroup
	for i, device := range f.firmware {
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

func (f *fleet) acknowledged() int {
	sum := 0
	for _, device := range f.firmware {
		sum += device.Account.AckedCount()
	}
	return sum
}

func (f *fleet) awaitAcknowledged(ctx context.Context, t *testing.T, want int) {
	t.Helper()
	for f.acknowledged() < want {
		select {
		case <-ctx.Done():
			t.Fatalf("only %d of %d readings acknowledged: %v", f.acknowledged(), want, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// check queries every device, waiting for the backlog to be processed, and reports what is wrong.
func (f *fleet) check(ctx context.Context, t *testing.T, tenant *Tenant) ledger.Verdict {
	t.Helper()
	var total ledger.Verdict
	deadline := time.Now().Add(30 * time.Second)
	for i, device := range f.firmware {
		for {
			rows, err := tenant.Rows(ctx, f.ids[i], "n")
			if err != nil {
				t.Fatal(err)
			}
			verdict := device.Account.Check(rows)
			if len(verdict.Lost) > 0 && time.Now().Before(deadline) {
				time.Sleep(50 * time.Millisecond) // not processed yet
				continue
			}
			for _, problem := range verdict.Problems {
				t.Errorf("%s (%s): %s", device.Account.Name, [...]string{"MQTT", "HTTP", "CoAP"}[i%3], problem)
			}
			total.Add(verdict)
			break
		}
	}
	return total
}

var firstPassword = regexp.MustCompile(`(\S+@\S+) / (\S+)`)

// firstTenant logs in with the credentials the first start printed and makes a tenant.
func firstTenant(ctx context.Context, t *testing.T, s *Standalone) *Tenant {
	t.Helper()
	var match []string
	eventually(ctx, t, 5*time.Second, func() error { // what is printed comes through a pipe
		if match = firstPassword.FindStringSubmatch(s.Output()); match == nil {
			return errors.New("the first start printed no credentials")
		}
		return nil
	})
	administrator, err := Login(ctx, "http://"+s.HTTP, match[1], match[2])
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := administrator.NewTenant(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}
