package entity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestTenantComesComplete(t *testing.T) {
	p := start(t)
	created, err := p.Tenants.Create(t.Context(), entity.Tenant{Title: "New", Contact: entity.Contact{City: "Here"}})
	if err != nil {
		t.Fatal(err)
	}
	if created.Region != "Global" || created.Version != 1 || created.Profile.IsZero() {
		t.Errorf("created %+v", created)
	}
	profile, err := p.DeviceProfiles.Default(t.Context(), created.ID)
	if err != nil || profile.Name != "default" || profile.TransportType != "DEFAULT" || !profile.IsDefault || !json.Valid(profile.Body) {
		t.Errorf("default profile is %+v, %v", profile, err)
	}
	chain, err := p.RuleChains.RootChain(t.Context(), created.ID)
	if err != nil || !chain.Root || chain.Name != "Root Rule Chain" {
		t.Fatalf("root chain is %+v, %v", chain, err)
	}
	var exported struct {
		Metadata struct {
			FirstNodeIndex int
			Nodes          []struct{ Type string }
			Connections    []struct{ FromIndex, ToIndex int }
		}
	}
	if err := json.Unmarshal(chain.Metadata, &exported); err != nil {
		t.Fatal(err)
	}
	m := exported.Metadata
	if m.FirstNodeIndex != 2 || len(m.Nodes) != 6 || len(m.Connections) != 5 || m.Nodes[2].Type != "org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode" {
		t.Errorf("root chain is %+v", m)
	}
	if got, err := p.RuleChains.Chain(t.Context(), created.ID, chain.ID); err != nil || got.Version != 1 {
		t.Errorf("read by id: %+v, %v", got, err)
	}
	_, err = p.RuleChains.Chain(t.Context(), p.tenant, chain.ID)
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	_, err = p.Tenants.Create(t.Context(), entity.Tenant{Title: "x", Profile: ident.New()})
	refused(t, err, fault.Invalid, storage.ErrNotFound)
	_, err = p.Tenants.Create(t.Context(), entity.Tenant{})
	refused(t, err, fault.Invalid, nil)
}

func TestTenantIsGoneWithAllItHas(t *testing.T) {
	p := start(t)
	customer := fill(t, p)
	for email, authority := range map[string]entity.Authority{"a@b.example": entity.TenantAdmin, "c@b.example": entity.CustomerUser} {
		u := entity.User{Tenant: p.tenant, Email: email, Authority: authority}
		if authority == entity.CustomerUser {
			u.Customer = customer
		}
		if _, err := p.Users.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Tenants.Delete(t.Context(), p.tenant); err != nil {
		t.Fatal(err)
	}
	for kind := ident.Tenant; kind <= ident.TenantProfile; kind++ {
		for d, err := range p.store.List(t.Context(), p.tenant, kind, ident.ID{}) {
			t.Errorf("left behind: %v, %v", d.ID, err)
		}
	}
	_, err := p.Tenants.Get(t.Context(), p.tenant)
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	refused(t, p.Tenants.Delete(t.Context(), p.tenant), fault.NotFound, storage.ErrNotFound)
	if len(p.told(entity.EntityDeleted)) != 5 {
		t.Errorf("told of the end of %v", p.told(entity.EntityDeleted))
	}
	again := p.newTenant(t, "Mine")
	if _, err := p.Users.Create(t.Context(), entity.User{Tenant: again, Email: "a@b.example", Authority: entity.TenantAdmin}); err != nil {
		t.Errorf("the address is not free again: %v", err)
	}
}

func TestTenantProfiles(t *testing.T) {
	p := start(t)
	first, err := p.Tenants.DefaultProfile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Tenants.CreateProfile(t.Context(), entity.TenantProfile{Name: "second", IsDefault: true, Data: json.RawMessage(`{}`)})
	if err != nil || second.IsDefault {
		t.Fatalf("created %+v, %v", second, err)
	}
	_, err = p.Tenants.CreateProfile(t.Context(), entity.TenantProfile{Name: "second"})
	refused(t, err, fault.Invalid, storage.ErrTaken)
	refused(t, p.Tenants.DeleteProfile(t.Context(), first.ID), fault.Invalid, nil)
	tenant, err := p.Tenants.Get(t.Context(), p.tenant)
	if err != nil {
		t.Fatal(err)
	}
	tenant.Profile = second.ID
	if _, err = p.Tenants.Update(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	refused(t, p.Tenants.DeleteProfile(t.Context(), second.ID), fault.Invalid, nil)
	tenant.Profile, tenant.Version = ident.ID{}, 0 // back to the default
	if _, err = p.Tenants.Update(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	second.Description = "x"
	if updated, err := p.Tenants.UpdateProfile(t.Context(), second); err != nil || updated.Version != 2 {
		t.Errorf("updated to %+v, %v", updated, err)
	}
	if found, err := p.Tenants.ListProfiles(t.Context(), entity.PageRequest{Size: 9, Sort: "name"}); err != nil || found.Total != 2 {
		t.Errorf("listed %+v, %v", found, err)
	}
	if err := p.Tenants.DeleteProfile(t.Context(), second.ID); err != nil {
		t.Error(err)
	}
}

func TestCustomers(t *testing.T) {
	p := start(t)
	for _, title := range []string{"Public", "", strings.Repeat("x", 256)} {
		_, err := p.Customers.Create(t.Context(), entity.Customer{Tenant: p.tenant, Title: title})
		refused(t, err, fault.Invalid, nil)
	}
	id := p.newCustomer(t, "c")
	_, err := p.Customers.Create(t.Context(), entity.Customer{Tenant: p.tenant, Title: "c"})
	refused(t, err, fault.Invalid, storage.ErrTaken)
	d := p.newDevice(t, entity.Device{Name: "d", Customer: id})
	u, err := p.Users.Create(t.Context(), entity.User{Tenant: p.tenant, Customer: id, Email: "u@b.example", Authority: entity.CustomerUser})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Customers.ByTitle(t.Context(), p.tenant, "c")
	if err != nil || c.ID != id {
		t.Fatalf("by title: %+v, %v", c, err)
	}
	c.Contact.Phone = "1"
	if c, err = p.Customers.Update(t.Context(), c); err != nil || c.Version != 2 {
		t.Errorf("updated to %+v, %v", c, err)
	}
	if found, err := p.Customers.List(t.Context(), p.tenant, entity.PageRequest{Size: 9}); err != nil || found.Total != 1 {
		t.Errorf("listed %+v, %v", found, err)
	}
	refused(t, p.Customers.Delete(t.Context(), p.newTenant(t, "Other"), id), fault.NotFound, storage.ErrNotFound)
	if err := p.Customers.Delete(t.Context(), p.tenant, id); err != nil {
		t.Fatal(err)
	}
	if d, err = p.Devices.Device(t.Context(), p.tenant, d.ID); err != nil || !d.Customer.IsZero() {
		t.Errorf("the customer's device is %+v, %v", d, err)
	}
	_, err = p.Users.Get(t.Context(), p.tenant, u.ID)
	refused(t, err, fault.NotFound, storage.ErrNotFound)
}

func TestUserIsActivated(t *testing.T) {
	p := start(t)
	u, err := p.Users.Create(t.Context(), entity.User{Tenant: p.tenant, Email: "u@b.example", Authority: entity.TenantAdmin})
	if err != nil {
		t.Fatal(err)
	}
	_, c, err := p.Users.ByEmail(t.Context(), "u@b.example")
	if err != nil || c.Enabled || c.PasswordHash != "" || len(c.ActivationToken) != 30 || c.ActivationExpires != now().AddDate(0, 0, 1).UnixMilli() {
		t.Fatalf("new credentials are %+v, %v", c, err)
	}
	found, _, err := p.Users.ByActivationToken(t.Context(), c.ActivationToken)
	if err != nil || found.ID != u.ID {
		t.Fatalf("by token: %+v, %v", found, err)
	}
	if again, err := p.Users.NewActivation(t.Context(), p.tenant, u.ID); err != nil || again.ActivationToken != c.ActivationToken {
		t.Errorf("a token that works was replaced: %+v, %v", again, err)
	}
	_, err = p.Users.ChangeCredentials(t.Context(), p.tenant, u.ID, func(c *entity.UserCredentials) error {
		c.Enabled, c.PasswordHash, c.ActivationToken, c.ResetToken = true, "h", "", "reset"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = p.Users.ByActivationToken(t.Context(), c.ActivationToken)
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	if _, c, err = p.Users.ByResetToken(t.Context(), "reset"); err != nil || c.PasswordHash != "h" {
		t.Errorf("by reset token: %+v, %v", c, err)
	}
	_, err = p.Users.NewActivation(t.Context(), p.tenant, u.ID)
	refused(t, err, fault.Invalid, nil)
	stop := errors.New("stop")
	if _, err := p.Users.ChangeCredentials(t.Context(), p.tenant, u.ID, func(*entity.UserCredentials) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
	if u, err := p.Users.Get(t.Context(), p.tenant, u.ID); err != nil || u.Version != 1 {
		t.Errorf("the user's version is %d, %v", u.Version, err)
	}
}

func TestUsersRefused(t *testing.T) {
	p := start(t)
	customer := p.newCustomer(t, "c")
	admin := entity.User{Tenant: p.tenant, Email: "a@b.example", Authority: entity.TenantAdmin}
	admin, err := p.Users.Create(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]entity.User{
		"address taken":           {Tenant: p.newTenant(t, "Other"), Email: "a@b.example", Authority: entity.TenantAdmin},
		"no address":              {Tenant: p.tenant, Authority: entity.TenantAdmin},
		"not an address":          {Tenant: p.tenant, Email: "Somebody <x@b.example>", Authority: entity.TenantAdmin},
		"no authority":            {Tenant: p.tenant, Email: "x@b.example"},
		"unknown tenant":          {Tenant: ident.TenantID{ID: ident.New()}, Email: "x@b.example", Authority: entity.TenantAdmin},
		"administrator anywhere":  {Email: "x@b.example", Authority: entity.TenantAdmin},
		"customer's without one":  {Tenant: p.tenant, Email: "x@b.example", Authority: entity.CustomerUser},
		"another's customer":      {Tenant: p.tenant, Customer: ident.CustomerID{ID: ident.New()}, Email: "x@b.example", Authority: entity.CustomerUser},
		"system's with a tenant":  {Tenant: p.tenant, Email: "x@b.example", Authority: entity.SysAdmin},
		"administrator customers": {Tenant: p.tenant, Customer: customer, Email: "x@b.example", Authority: entity.TenantAdmin},
		"long name":               {Tenant: p.tenant, Email: "x@b.example", Authority: entity.TenantAdmin, FirstName: strings.Repeat("x", 256)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Users.Create(t.Context(), u)
			refused(t, err, fault.Invalid, nil)
		})
	}
	refused(t, p.Users.Delete(t.Context(), p.tenant, admin.ID), fault.Invalid, nil)
	if _, err := p.Users.Create(t.Context(), entity.User{Tenant: p.tenant, Email: "b@b.example", Authority: entity.TenantAdmin}); err != nil {
		t.Fatal(err)
	}
	if err := p.Users.Delete(t.Context(), p.tenant, admin.ID); err != nil {
		t.Errorf("delete one of two administrators: %v", err)
	}
}

func TestUserUpdates(t *testing.T) {
	p := start(t)
	u, err := p.Users.CreateActive(t.Context(), entity.User{Tenant: p.tenant, Email: "a@b.example", Authority: entity.TenantAdmin, FirstName: "x"}, "hash")
	if err != nil {
		t.Fatal(err)
	}
	u.Email, u.Authority, u.FirstName = "b@b.example", entity.CustomerUser, "y"
	updated, err := p.Users.Update(t.Context(), u)
	if err != nil || updated.Version != 2 || updated.Authority != entity.TenantAdmin || updated.FirstName != "y" {
		t.Fatalf("updated to %+v, %v", updated, err)
	}
	_, err = p.Users.Update(t.Context(), u)
	refused(t, err, fault.Conflict, storage.ErrVersion)
	_, _, err = p.Users.ByEmail(t.Context(), "a@b.example")
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	if _, c, err := p.Users.ByEmail(t.Context(), "b@b.example"); err != nil || c.PasswordHash != "hash" || !c.Enabled {
		t.Errorf("credentials are %+v, %v", c, err)
	}
	found, err := p.Users.List(t.Context(), p.tenant, entity.UserFilter{Authority: entity.TenantAdmin}, entity.PageRequest{Size: 9, Search: "B@b", Sort: "lastName"})
	if err != nil || found.Total != 1 || found.Items[0].ID != u.ID {
		t.Errorf("listed %+v, %v", found, err)
	}
	if found, err = p.Users.List(t.Context(), p.tenant, entity.UserFilter{Authority: entity.CustomerUser}, entity.PageRequest{Size: 9}); err != nil || found.Total != 0 {
		t.Errorf("listed %+v, %v", found, err)
	}
}

func TestThereIsADefaultTenantProfileWhateverIsCutOff(t *testing.T) {
	for left := range 3 {
		p := start(t)
		before, err := p.Tenants.DefaultProfile(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next, err := p.Tenants.CreateProfile(t.Context(), entity.TenantProfile{Name: "next"})
		if err != nil || next.IsDefault {
			t.Fatalf("%+v, %v", next, err)
		}
		broken := entity.New(&cutOff{p.store, left}, entity.Options{Events: p.recorder})
		_, err = broken.Tenants.SetDefaultProfile(t.Context(), next.ID)
		if (err == nil) != (left == 2) || err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("after %d updates: %v", left, err)
		}
		want := before.ID
		if left == 2 {
			want = next.ID
		}
		if got, err := p.Tenants.DefaultProfile(t.Context()); err != nil || !got.IsDefault || got.ID != want {
			t.Errorf("after %d updates the default is %+v, %v", left, got, err)
		}
	}
}
