package transport_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func token(text string) transport.Credentials { return transport.Credentials{Token: text} }

func authenticate(t testing.TB, r *transporttest.Rig, c transport.Credentials) *transport.Device {
	t.Helper()
	d, err := r.Transport.Authenticate(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func expectKind(t *testing.T, r *transporttest.Rig, c transport.Credentials, want fault.Kind) {
	t.Helper()
	if d, err := r.Transport.Authenticate(context.Background(), c); err == nil || fault.KindOf(err) != want {
		t.Errorf("%+v: device %+v, error %v (%v), want %v", c, d, err, fault.KindOf(err), want)
	}
}

func expectAsked(t *testing.T, r *transporttest.Rig, want int) {
	t.Helper()
	if got := r.Core.Asked(); got != want {
		t.Errorf("the core was asked %d times, want %d", got, want)
	}
}

func TestCredentialsAreRememberedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		synctest.Wait()
		for range 3 {
			if d := authenticate(t, r, token("T")); d.ID != device.ID || d.Tenant != device.Tenant || d.Name != device.Name {
				t.Fatalf("got %+v, want %+v", d, device)
			}
		}
		expectAsked(t, r, 1)
		time.Sleep(59 * time.Second)
		authenticate(t, r, token("T"))
		expectAsked(t, r, 1)
		time.Sleep(2 * time.Second)
		authenticate(t, r, token("T"))
		expectAsked(t, r, 2)
	})
}

func TestWrongCredentialsAreRememberedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		synctest.Wait()
		expectKind(t, r, token("T"), fault.Unauthenticated)
		expectKind(t, r, token("T"), fault.Unauthenticated)
		expectAsked(t, r, 1)
		r.Core.AddDevice("T")
		time.Sleep(time.Second)
		authenticate(t, r, token("T"))
		expectAsked(t, r, 2)
	})
}

func TestBasicCredentials(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("")
	r.Core.Change(func() { device.Basic = &transporttest.Basic{ClientID: "c", Username: "u", Password: "p"} })
	right := transport.Credentials{ClientID: "c", Username: "u", Password: "p", HasUsername: true, HasPassword: true}
	if d := authenticate(t, r, right); d.ID != device.ID {
		t.Errorf("got %+v", d)
	}
	wrong := right
	wrong.Password = "q"
	expectKind(t, r, wrong, fault.Unauthenticated)
}

func TestHopelessCredentialsAreNotAskedAbout(t *testing.T) {
	r := transporttest.Start(t, nil)
	expectKind(t, r, transport.Credentials{}, fault.Unauthenticated)
	expectKind(t, r, transport.Credentials{HasUsername: true, Password: "p", HasPassword: true}, fault.Unauthenticated)
	expectKind(t, r, token(strings.Repeat("x", 1025)), fault.Unauthenticated)
	expectKind(t, r, token("\xff"), fault.Unauthenticated)
	expectAsked(t, r, 0)
}

func TestOneCallForAllWhoAskTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("T")
		resume := r.Core.Stall()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := r.Transport.Authenticate(context.Background(), token("T")); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		resume()
		all.Wait()
		expectAsked(t, r, 1)
	})
}

func TestCallsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.CallsInFlight = 3 })
		resume := r.Core.Stall()
		var all sync.WaitGroup
		for i := range 10 {
			r.Core.AddDevice(fmt.Sprint("T", i))
			all.Go(func() {
				if _, err := r.Transport.Authenticate(context.Background(), token(fmt.Sprint("T", i))); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		expectAsked(t, r, 3)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.Transport.Authenticate(ctx, token("LATE")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("while all slots are taken: %v", err)
		}
		resume()
		all.Wait()
		expectAsked(t, r, 10)
	})
}

func TestAnAnswerThatDoesNotComeIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("T")
		resume := r.Core.Stall()
		defer resume()
		started := time.Now()
		expectKind(t, r, token("T"), fault.Unavailable)
		if waited := time.Since(started); waited != 5*time.Second {
			t.Errorf("waited %v", waited)
		}
		resume()
		authenticate(t, r, token("T")) // a fault of the platform is not remembered
	})
}

func TestEventsOutdateWhatIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		synctest.Wait()
		device, other := r.Core.AddDevice("T"), r.Core.AddDevice("OTHER")
		authenticate(t, r, token("T"))
		authenticate(t, r, token("OTHER"))
		r.Core.Change(func() { device.Name = "renamed" })
		r.Changed(t, device, false, false)
		if d := authenticate(t, r, token("T")); d.Name != "renamed" {
			t.Errorf("name is %q", d.Name)
		}
		r.Core.Remove(device)
		r.Changed(t, device, true, false)
		expectKind(t, r, token("T"), fault.Unauthenticated)
		authenticate(t, r, token("OTHER"))
		expectAsked(t, r, 4)
		// A device that takes on a token remembered as wrong is known at once.
		r.Core.Change(func() { other.Token = "T" })
		r.Changed(t, other, false, true)
		authenticate(t, r, token("T"))
	})
}

// An event that comes between question and answer may be younger than the answer.
func TestAnAnswerOvertakenByAnEventIsAskedForAgain(t *testing.T) {
	for _, known := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := transporttest.Start(t, nil)
			synctest.Wait()
			device := r.Core.AddDevice("T")
			if known {
				defer runtime.KeepAlive(authenticate(t, r, token("T")))
				r.Changed(t, device, false, false)
			}
			before := r.Core.Asked()
			resume := r.Core.Stall()
			var asking sync.WaitGroup
			asking.Go(func() { authenticate(t, r, token("T")) })
			synctest.Wait()
			r.Changed(t, device, false, false)
			resume()
			asking.Wait()
			expectAsked(t, r, before+2)
			authenticate(t, r, token("T"))
			expectAsked(t, r, before+2)
		})
	}
}

// TestWhoComesAfterAGrantIsNotRefusedForWhoCameBefore: a refusal under way, which others wait for, is older than the event that makes the token right.
func TestWhoComesAfterAGrantIsNotRefusedForWhoCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		other := r.Core.AddDevice("OTHER")
		synctest.Wait()
		resume := r.Core.Stall()
		var asking sync.WaitGroup
		asking.Go(func() { authenticate(t, r, token("T")) })
		synctest.Wait()
		r.Core.Change(func() { other.Token = "T" })
		r.Changed(t, other, false, true)
		asking.Go(func() { authenticate(t, r, token("T")) })
		synctest.Wait()
		expectAsked(t, r, 1)
		resume()
		asking.Wait()
		expectAsked(t, r, 2)
	})
}

// While changes are not heard of, nothing is believed for long.
func TestWithoutEventsCredentialsAreBelievedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := transporttest.NewCore()
		b := transporttest.NewBus(core)
		defer b.Close()
		tr, err := transport.New(transporttest.Config(t), b, transport.Options{})
		if err != nil {
			t.Fatal(err)
		}
		core.AddDevice("T")
		r := &transporttest.Rig{Bus: b, Core: core, Transport: tr}
		authenticate(t, r, token("T"))
		time.Sleep(time.Second)
		authenticate(t, r, token("T"))
		expectAsked(t, r, 2)
	})
}

func TestRememberedCredentialsAreBounded(t *testing.T) {
	r := transporttest.Start(t, func(c *transport.Config) { c.CredentialsCached = 10 })
	for i := range 100 {
		expectKind(t, r, token(fmt.Sprint("wrong", i)), fault.Unauthenticated)
	}
	asked := r.Core.Asked()
	for i := range 100 {
		expectKind(t, r, token(fmt.Sprint("wrong", i)), fault.Unauthenticated)
	}
	if again := r.Core.Asked() - asked; again < 80 {
		t.Errorf("%d of 100 had to be asked again, want nearly all", again)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	b := transporttest.NewBus(transporttest.NewCore())
	defer b.Close()
	for name, change := range map[string]func(*transport.Config){
		"uplink-max-bytes":       func(c *transport.Config) { c.UplinkMaxBytes = 0 },
		"sessions":               func(c *transport.Config) { c.Sessions = -1 },
		"device-limit: messages": func(c *transport.Config) { c.DeviceLimits.Messages = "x" },
		"tenant-limit: points":   func(c *transport.Config) { c.TenantLimits.Points = "1:" },
	} {
		c := transporttest.Config(t)
		change(&c)
		if _, err := transport.New(c, b, transport.Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
}
