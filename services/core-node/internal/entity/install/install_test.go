package install_test

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

type silent struct{}

func (silent) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

func registry(t *testing.T) *entity.Registry {
	t.Helper()
	s, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return entity.New(s, entity.Options{Events: silent{}})
}

func login(t *testing.T, r *entity.Registry, email, given string) entity.User {
	t.Helper()
	u, c, err := r.Users.ByEmail(t.Context(), email)
	if err != nil {
		t.Fatal(err)
	}
	ok, err := password.NewHasher(1, 1).Verify(t.Context(), given, c.PasswordHash)
	if err != nil || !ok || !c.Enabled {
		t.Errorf("%s cannot log in: %v, %v", email, ok, err)
	}
	return u
}

func TestSystem(t *testing.T) {
	r := registry(t)
	h := password.NewHasher(1, 1)
	first, err := install.System(t.Context(), r, h)
	if err != nil || len(first) < 20 {
		t.Fatalf("password %q, %v", first, err)
	}
	if u := login(t, r, install.AdminEmail, first); u.Authority != entity.SysAdmin || !u.Tenant.IsZero() {
		t.Errorf("the administrator is %+v", u)
	}
	if again, err := install.System(t.Context(), r, h); err != nil || again != "" {
		t.Errorf("a second start gives %q, %v", again, err)
	}
	login(t, r, install.AdminEmail, first)
	if all, err := r.Tenants.List(t.Context(), entity.PageRequest{Size: 9}); err != nil || all.Total != 0 {
		t.Errorf("%d tenants, %v", all.Total, err)
	}
}

func TestDemo(t *testing.T) {
	r := registry(t)
	for range 2 { // a second start finds everything there
		if err := install.Demo(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	login(t, r, "sysadmin@thingsboard.org", "sysadmin")
	tenant := login(t, r, "tenant@thingsboard.org", "tenant").Tenant
	customers := map[string]ident.CustomerID{"": {}}
	for email, title := range map[string]string{
		"customer@thingsboard.org": "Customer A", "customerA@thingsboard.org": "Customer A",
		"customerB@thingsboard.org": "Customer B", "customerC@thingsboard.org": "Customer C",
	} {
		u := login(t, r, email, "customer")
		c, err := r.Customers.Get(t.Context(), tenant, u.Customer)
		if err != nil || c.Title != title {
			t.Errorf("%s is of %q, %v", email, c.Title, err)
		}
		customers[title] = c.ID
	}
	for _, want := range install.DemoDevices() {
		c, err := r.Devices.CredentialsByID(t.Context(), want.Token)
		if err != nil {
			t.Fatal(err)
		}
		d, err := r.Devices.Device(t.Context(), tenant, c.Device)
		if err != nil || d.Name != want.Name || d.Customer != customers[want.Customer] || want.Profile != "" && d.Type != want.Profile {
			t.Errorf("%s is the token of %+v, %v", want.Token, d, err)
		}
	}
	devices, err := r.Devices.List(t.Context(), tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 99})
	if err != nil || devices.Total != 9 {
		t.Errorf("%d devices, %v", devices.Total, err)
	}
	if all, err := r.Tenants.List(t.Context(), entity.PageRequest{Size: 9}); err != nil || all.Total != 1 {
		t.Errorf("%d tenants, %v", all.Total, err)
	}
}
