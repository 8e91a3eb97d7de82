package claim_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// offers is a registry with a clock of the test's, and one device.
type offers struct {
	*claim.Registry
	t      *testing.T
	now    time.Time
	tenant ident.TenantID
	device ident.DeviceID
}

func open(t *testing.T) *offers {
	t.Helper()
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), DiskReserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &offers{t: t, now: time.Now(), tenant: ident.TenantID{ID: ident.New()}, device: ident.DeviceID{ID: ident.New()}}
	s := claim.DefaultSettings()
	s.Tries = 3
	o.Registry = claim.New(store, s, func() time.Time { return o.now })
	return o
}

func (o *offers) offer(secret string, lasts time.Duration) {
	o.t.Helper()
	if err := o.Offer(o.t.Context(), o.tenant, o.device, secret, o.now, lasts); err != nil {
		o.t.Fatal(err)
	}
}

// claimed reports whether the secret takes the device.
func (o *offers) claimed(secret string) bool {
	o.t.Helper()
	taken := false
	err := o.Claim(o.t.Context(), o.tenant, o.device, secret, func() error { taken = true; return nil })
	if taken != (err == nil) || err != nil && !errors.Is(err, claim.ErrNone) {
		o.t.Fatalf("taken %v, %v", taken, err)
	}
	return taken
}

func TestOffers(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *offers){
		"nothing is offered": func(t *testing.T, o *offers) {
			if o.claimed("") {
				t.Error("claimed")
			}
		},
		"M71 without a secret, for a day": func(t *testing.T, o *offers) {
			o.offer("", 0)
			o.now = o.now.Add(24*time.Hour - time.Millisecond)
			if !o.claimed("") || o.claimed("") {
				t.Error("not claimed, or twice")
			}
		},
		"a day is over": func(t *testing.T, o *offers) {
			o.offer("", -5)
			o.now = o.now.Add(24 * time.Hour)
			if o.claimed("") {
				t.Error("claimed")
			}
			o.offer("again", time.Second)
			if !o.claimed("again") {
				t.Error("not claimed")
			}
		},
		"M72 a wrong secret, then the right one": func(t *testing.T, o *offers) {
			o.offer("s", time.Minute)
			if o.claimed("wrong") || o.claimed("") || !o.claimed("s") {
				t.Error("the wrong one took it, or the right one did not")
			}
		},
		"too many wrong secrets": func(t *testing.T, o *offers) {
			o.offer("s", time.Minute)
			if o.claimed("1") || o.claimed("2") || o.claimed("3") || o.claimed("s") {
				t.Error("claimed")
			}
			if o.offer("s", time.Minute); !o.claimed("s") {
				t.Error("another offer is not taken")
			}
		},
		"a second offer changes nothing": func(t *testing.T, o *offers) {
			o.offer("first", time.Minute)
			o.offer("second", time.Hour)
			if o.claimed("second") || !o.claimed("first") {
				t.Error("the second counts")
			}
		},
		"the longest time": func(t *testing.T, o *offers) {
			o.offer("s", 1<<62)
			o.now = o.now.Add(366 * 24 * time.Hour)
			if o.claimed("s") {
				t.Error("claimed")
			}
		},
		"another tenant's": func(t *testing.T, o *offers) {
			o.offer("s", time.Minute)
			o.tenant = ident.TenantID{ID: ident.New()}
			if o.claimed("s") {
				t.Error("claimed")
			}
		},
		"a device that was deleted": func(t *testing.T, o *offers) {
			o.offer("s", time.Minute)
			if err := o.EntityDeleted(t.Context(), o.tenant, o.device.Entity()); err != nil {
				t.Fatal(err)
			}
			if o.claimed("s") {
				t.Error("claimed")
			}
		},
		"it could not be taken": func(t *testing.T, o *offers) {
			o.offer("s", time.Minute)
			failed := errors.New("failed")
			if err := o.Claim(t.Context(), o.tenant, o.device, "s", func() error { return failed }); !errors.Is(err, failed) {
				t.Errorf("answered %v", err)
			}
			if !o.claimed("s") {
				t.Error("the offer is gone")
			}
		},
		"an offer that came late": func(t *testing.T, o *offers) {
			if err := o.Offer(t.Context(), o.tenant, o.device, "s", o.now.Add(-time.Minute), time.Minute); err != nil || o.claimed("s") {
				t.Errorf("claimed, %v", err)
			}
		},
		"a clock ahead": func(t *testing.T, o *offers) {
			if err := o.Offer(t.Context(), o.tenant, o.device, "s", o.now.Add(time.Hour), time.Minute); err != nil {
				t.Fatal(err)
			}
			if o.now = o.now.Add(time.Minute); o.claimed("s") {
				t.Error("claimed")
			}
		},
		"a long secret": func(t *testing.T, o *offers) {
			err := o.Offer(t.Context(), o.tenant, o.device, strings.Repeat("s", 1025), o.now, 0)
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("answered %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}
