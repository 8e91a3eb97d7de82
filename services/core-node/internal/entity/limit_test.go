package entity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// allow changes the default tenant profile's configuration.
func (p platform) allow(t *testing.T, configuration string) entity.TenantProfile {
	t.Helper()
	profile, err := p.Tenants.DefaultProfile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	profile.Data = json.RawMessage(`{"configuration":` + configuration + `}`)
	updated, err := p.Tenants.UpdateProfile(t.Context(), profile)
	if err != nil {
		t.Fatal(err)
	}
	return updated
}

func TestLimitsOfEntities(t *testing.T) {
	p := start(t)
	chains, err := p.RuleChains.List(t.Context(), p.tenant, entity.CoreChain, entity.PageRequest{Size: 9})
	if err != nil {
		t.Fatal(err)
	}
	p.allow(t, fmt.Sprintf(`{"maxDevices":2,"maxAssets":2,"maxCustomers":2,"maxUsers":2,"maxRuleChains":%d}`, chains.Total+2))
	other := p.newTenant(t, "Other")
	for kind, create := range map[ident.EntityType]func(tenant ident.TenantID, name string) error{
		ident.Device: func(tenant ident.TenantID, name string) error {
			_, err := p.Devices.Create(t.Context(), entity.Device{Tenant: tenant, Name: name}, nil)
			return err
		},
		ident.Asset: func(tenant ident.TenantID, name string) error {
			_, err := p.Assets.Create(t.Context(), entity.Asset{Tenant: tenant, Name: name})
			return err
		},
		ident.Customer: func(tenant ident.TenantID, name string) error {
			_, err := p.Customers.Create(t.Context(), entity.Customer{Tenant: tenant, Title: name})
			return err
		},
		ident.User: func(tenant ident.TenantID, name string) error {
			_, err := p.Users.Create(t.Context(), entity.User{Tenant: tenant, Email: name + tenant.String() + "@example.org", Authority: entity.TenantAdmin})
			return err
		},
		ident.RuleChain: func(tenant ident.TenantID, name string) error {
			_, err := p.RuleChains.Create(t.Context(), entity.RuleChain{Tenant: tenant, Name: name, Metadata: entity.DefaultChain()})
			return err
		},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			failed := make(chan error, 10)
			for i := range cap(failed) {
				go func() { failed <- create(p.tenant, fmt.Sprint("e", i)) }()
			}
			made := 0
			for range cap(failed) {
				err := <-failed
				var limit *entity.LimitError
				switch {
				case err == nil:
					made++
				case !errors.As(err, &limit) || limit.Kind != kind || fault.KindOf(err) != fault.Limited:
					t.Errorf("refused by %v", err)
				}
			}
			if made != 2 {
				t.Errorf("%d were made of 2 allowed", made)
			}
			if err := create(other, "theirs"); err != nil {
				t.Errorf("another tenant: %v", err)
			}
		})
	}
	p.allow(t, `{"maxDevices":0}`)
	p.newDevice(t, entity.Device{Name: "unlimited"})
}

// TestLimitsAreAnnounced: transports hear of a tenant's limits under the tenant's id.
func TestLimitsAreAnnounced(t *testing.T) {
	p := start(t)
	of := func(e *sluicepb.EntityEvent) bool {
		return e.GetEntity().GetType() == ident.TenantProfile && string(e.GetTenantId()) == string(p.tenant.ID[:])
	}
	count := func() (n int) {
		for _, e := range p.take() {
			if of(e) {
				n++
			}
		}
		return n
	}
	p.allow(t, `{"transportDeviceMsgRateLimit":"1:1"}`)
	if n := count(); n != 1 {
		t.Errorf("a changed profile was announced %d times to the tenant", n)
	}
	fresh, err := p.Tenants.CreateProfile(t.Context(), entity.TenantProfile{Name: "fresh"})
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := p.Tenants.Get(t.Context(), p.tenant)
	if err != nil {
		t.Fatal(err)
	}
	p.take()
	for want, profile := range []ident.ID{tenant.Profile, fresh.ID} {
		tenant.Profile, tenant.Version = profile, 0
		if _, err := p.Tenants.Update(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != want {
			t.Errorf("profile %d: announced %d times", want, n)
		}
	}
	if rates, err := p.Tenants.Rates(t.Context(), p.tenant); err != nil || rates != nil {
		t.Errorf("the rates are %v, %v", rates, err)
	}
}

func TestTenantProfileRefused(t *testing.T) {
	p := start(t)
	for _, configuration := range []string{
		`{"transportDeviceMsgRateLimit":"fast"}`, `{"transportDeviceMsgRateLimit":"1"}`, `{"transportDeviceMsgRateLimit":"1:0"}`,
		`{"transportTenantTelemetryMsgRateLimit":"1:1,"}`, `{"transportGatewayDeviceMsgRateLimit":"-1:1"}`, `{"transportGatewayMsgRateLimit":7}`,
		`{"transportDeviceMsgRateLimit":"` + strings.Repeat("1:1,", 99) + `1:1"}`, `{"maxDevices":-1}`, `{"maxAssets":"many"}`, `[]`,
	} {
		_, err := p.Tenants.CreateProfile(t.Context(), entity.TenantProfile{Name: "p", Data: json.RawMessage(`{"configuration":` + configuration + `}`)})
		refused(t, err, fault.Invalid, nil)
		if !strings.HasPrefix(message(err), "profileData") {
			t.Errorf("%.60s: message is %q", configuration, message(err))
		}
	}
}
