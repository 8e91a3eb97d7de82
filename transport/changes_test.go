package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func only(messages string) *sluicepb.RateLimit { return &sluicepb.RateLimit{Messages: messages} }

// claims how many claims of d pass, one after the other, up to most.
func claims(t *testing.T, r *transporttest.Rig, d *transport.Device, most int) int {
	t.Helper()
	done := make(chan error, 1)
	for n := range most {
		if err := r.Transport.Claim(d, overHTTP, nil, func(err error) { done <- err }); err != nil {
			if !errors.Is(err, transport.ErrRateLimited) {
				t.Fatal(err)
			}
			return n
		}
		<-done
	}
	return most
}

func TestRatesOfTheTenantsProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits.Messages = "1:3600" })
		device, plain := r.Core.AddDevice("T"), r.Core.AddDevice("PLAIN")
		r.Core.Change(func() { device.Rates = &sluicepb.RateLimits{Device: only("5:3600"), Tenant: only("7:3600")} })
		synctest.Wait()
		d := authenticate(t, r, token("T"))
		open(t, r, d) // takes one
		if n := claims(t, r, d, 9); n != 4 {
			t.Errorf("%d claims passed, want 4", n)
		}
		if n := claims(t, r, authenticate(t, r, token("PLAIN")), 9); n != 1 {
			t.Errorf("%d claims passed by the settings, want 1", n)
		}
		_ = plain
		// What did not change is not filled up again; what did holds at once.
		r.ChangedGroup(t, ident.Tenant, device.Tenant.ID)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := claims(t, r, d, 9); n != 0 {
			t.Errorf("%d claims passed after a change of something else", n)
		}
		r.Core.Change(func() { device.Rates.Device = only("") })
		r.ChangedGroup(t, ident.TenantProfile, ident.New())
		time.Sleep(time.Second)
		synctest.Wait()
		if n := claims(t, r, d, 9); n != 2 { // of the tenant's
			t.Errorf("%d claims passed once only the tenant is limited, want 2", n)
		}
		r.Core.Change(func() { device.Rates = &sluicepb.RateLimits{Tenant: only("nonsense")} })
		r.ChangedGroup(t, ident.TenantProfile, ident.New())
		time.Sleep(time.Second)
		synctest.Wait()
		if n := claims(t, r, d, 9); n != 0 {
			t.Errorf("%d claims passed by a rate that cannot be read", n)
		}
	})
}

func TestM69M70RatesOfGateways(t *testing.T) {
	r := transporttest.Start(t, nil)
	gateway := r.Core.AddDevice("T")
	r.Core.Change(func() {
		gateway.Gateway = true
		gateway.Rates = &sluicepb.RateLimits{Device: only("100:3600"), Gateway: only("5:3600"), GatewayDevice: only("3:3600")}
	})
	for _, name := range []string{"A", "B"} {
		child := r.Core.AddChild(gateway, name)
		r.Core.Change(func() { child.Rates = &sluicepb.RateLimits{Device: only("4:3600")} })
	}
	g := authenticate(t, r, token("T"))
	behind := func(name string) *transport.Device {
		d, err := r.Transport.Behind(t.Context(), g, name, "")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b := behind("A"), behind("B") // two of the gateway's own three
	if n := claims(t, r, a, 9); n != 4 {
		t.Errorf("%d claims of A passed, want its own 4", n)
	}
	if n := claims(t, r, b, 9); n != 1 {
		t.Errorf("%d claims of B passed, want what is left of the gateway's 5", n)
	}
	if n := claims(t, r, g, 9); n != 1 {
		t.Errorf("%d claims of the gateway passed, want what is left of its own 3", n)
	}
	want := `{"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":{"messages":"3:3600","telemetryMessages":null,"telemetryDataPoints":null},` +
		`"gatewayRateLimits":{"messages":"5:3600","telemetryMessages":null,"telemetryDataPoints":null}}`
	if got := string(g.AppendSessionLimits(nil, 65536, 100)); got != want {
		t.Errorf("the gateway is told %s", got)
	}
	if got := string(a.AppendSessionLimits(nil, 1, 2)); got != `{"maxPayloadSize":1,"maxInflightMessages":2,"rateLimits":{"messages":"4:3600","telemetryMessages":null,"telemetryDataPoints":null}}` {
		t.Errorf("a device is told %s", got)
	}
}

func TestAProfilesChangeReachesItsDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		profile, other := ident.New(), ident.New()
		devices := map[string]*transporttest.Device{}
		for i := range 100 {
			name := fmt.Sprint("T", i)
			devices[name] = r.Core.AddDevice(name)
			devices[name].Profile = profile
			if i%2 == 1 {
				devices[name].Profile = other
			}
		}
		synctest.Wait()
		found := map[string]*transport.Device{}
		for name := range devices {
			found[name] = authenticate(t, r, token(name))
			open(t, r, found[name])
		}
		expectAsked(t, r, 100)
		r.Core.Change(func() {
			for _, d := range devices {
				d.Options = &sluicepb.ProfileOptions{TelemetryTopic: "new"}
			}
		})
		r.ChangedGroup(t, ident.DeviceProfile, profile)
		time.Sleep(time.Second)
		synctest.Wait()
		expectAsked(t, r, 150)
		for name, d := range found {
			if changed := d.Options().GetTelemetryTopic() == "new"; changed != (devices[name].Profile == profile) {
				t.Errorf("%s has the new options: %v", name, changed)
			}
		}
		r.ChangedGroup(t, ident.DeviceProfile, ident.New()) // nobody's here
		time.Sleep(time.Second)
		synctest.Wait()
		expectAsked(t, r, 150)
	})
}

func TestWrongCredentialsPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.WrongCredentials = "3:60" })
		device := r.Core.AddDevice("RIGHT")
		r.Core.AddDevice("LATE")
		synctest.Wait()
		at := netip.MustParseAddr("192.0.2.1")
		from := func(address netip.Addr, text string) transport.Credentials {
			return transport.Credentials{Token: text, From: address}
		}
		authenticate(t, r, from(at, "RIGHT"))
		for i := range 3 {
			expectKind(t, r, from(at, fmt.Sprint("W", i)), fault.Unauthenticated)
		}
		asked := r.Core.Asked()
		if _, err := r.Transport.Authenticate(t.Context(), from(at, "W3")); !errors.Is(err, transport.ErrTooManyWrong) {
			t.Errorf("a fourth wrong one: %v", err)
		}
		if _, err := r.Transport.Authenticate(t.Context(), from(netip.MustParseAddr("::ffff:192.0.2.1"), "LATE")); !errors.Is(err, transport.ErrTooManyWrong) {
			t.Errorf("one not known to be right: %v", err)
		}
		expectAsked(t, r, asked)
		// The right device is not locked out, not even when its verdict has aged.
		time.Sleep(5 * time.Second)
		r.Changed(t, device, false, false)
		for i := range 30 { // it stays above its rate
			_, _ = r.Transport.Authenticate(t.Context(), from(at, fmt.Sprint("X", i)))
		}
		authenticate(t, r, from(at, "RIGHT"))
		// Elsewhere, and without an address, all is as ever.
		authenticate(t, r, from(netip.MustParseAddr("192.0.2.2"), "LATE"))
		expectKind(t, r, token("W4"), fault.Unauthenticated)
		// Proved once and revoked, it is as unknown as others.
		r.Core.Remove(device)
		r.Changed(t, device, true, false)
		expectKind(t, r, from(at, "RIGHT"), fault.Unauthenticated)
		if _, err := r.Transport.Authenticate(t.Context(), from(at, "RIGHT")); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("remembered as wrong: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := r.Transport.Authenticate(t.Context(), from(at, "RIGHT")); !errors.Is(err, transport.ErrTooManyWrong) {
			t.Errorf("the revoked one is asked about again: %v", err)
		}
		time.Sleep(time.Minute)
		expectKind(t, r, from(at, "W5"), fault.Unauthenticated)
		// A neighbourhood of IPv6 is one.
		for i := range 3 {
			expectKind(t, r, from(netip.MustParseAddr(fmt.Sprint("2001:db8::", i+1)), fmt.Sprint("Y", i)), fault.Unauthenticated)
		}
		if _, err := r.Transport.Authenticate(t.Context(), from(netip.MustParseAddr("2001:db8::9"), "Y9")); !errors.Is(err, transport.ErrTooManyWrong) {
			t.Errorf("a neighbour: %v", err)
		}
		request := []byte(`{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`)
		for range 3 {
			if _, _, err := r.Transport.Provision(t.Context(), request, false, netip.MustParseAddr("192.0.2.3")); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := r.Transport.Provision(t.Context(), request, false, netip.MustParseAddr("192.0.2.3")); !errors.Is(err, transport.ErrTooManyWrong) {
			t.Errorf("a fourth request for credentials: %v", err)
		}
	})
}

func TestManyReadersAskForAPartOnce(t *testing.T) {
	r := transporttest.Start(t, func(c *transport.Config) { c.PackageCacheBytes = 3 << 20 })
	device := r.Core.AddDevice("T")
	data := []byte(strings.Repeat("0123456789abcdef", 60_000)) // four parts
	assigned := r.Core.AddPackage("fw", "1", data)
	r.Core.Change(func() { device.Firmware = assigned })
	d := authenticate(t, r, token("T"))
	p, err := r.Transport.FindPackage(t.Context(), d, sluicepb.PackageType_FIRMWARE)
	if err != nil {
		t.Fatal(err)
	}
	resume := r.Core.Stall()
	asked := r.Core.Asked()
	var reading sync.WaitGroup
	for range 200 {
		reading.Go(func() {
			got, err := r.Transport.ReadPackage(t.Context(), p, 0, p.Size)
			if err != nil || string(got) != string(data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := r.Transport.ReadPackage(gone, p, 0, 1); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a reader that went: %v", err)
	}
	resume()
	reading.Wait()
	expectAsked(t, r, asked+4)
	r.Core.Change(func() { assigned.Data = nil })
	long := p
	long.ID, long.Size = ident.New(), 10
	if _, err := r.Transport.ReadPackage(t.Context(), long, 0, 10); err == nil {
		t.Error("a package that is gone was read")
	}
}
