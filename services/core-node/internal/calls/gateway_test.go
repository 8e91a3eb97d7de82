package calls_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

func behind(gateway entity.Device, name, kind string) *sluicepb.TransportRequest {
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_GatewayDevice{GatewayDevice: &sluicepb.GatewayDevice{
		TenantId: gateway.Tenant.ID[:], GatewayId: gateway.ID.ID[:], DeviceName: name, DeviceType: kind,
	}}}
}

// limit has the tenants' profile allow so many devices.
func (p *platform) limit(t *testing.T, configuration string) {
	t.Helper()
	profile, err := p.Tenants.DefaultProfile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	profile.Data = json.RawMessage(`{"configuration":` + configuration + `}`)
	if _, err := p.Tenants.UpdateProfile(t.Context(), profile); err != nil {
		t.Fatal(err)
	}
}

func TestG01DeviceBehindGateway(t *testing.T) {
	p := start(t)
	customer, err := p.Customers.Create(t.Context(), entity.Customer{Tenant: p.tenant, Title: "C"})
	if err != nil {
		t.Fatal(err)
	}
	gateway := p.device(t, entity.Device{Name: "G", Customer: customer.ID, AdditionalInfo: gateway}, nil)
	relations := func(from entity.Device) int {
		found, err := p.relations.From(t.Context(), p.tenant, from.ID.Entity(), "Created", "")
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	last := func(name string) string {
		d, err := p.Devices.ByName(t.Context(), p.tenant, name)
		if err != nil {
			t.Fatal(err)
		}
		var info map[string]any
		if err := json.Unmarshal(d.AdditionalInfo, &info); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(info["lastConnectedGateway"])
	}
	t.Run("G01 a device is made", func(t *testing.T) {
		got := p.ask(t, behind(gateway, "A", "")).GetDevice()
		if got.GetDeviceName() != "A" || got.GetDeviceType() != "default" || ident.ID(got.GetCustomerId()) != customer.ID.ID || got.GetGateway() {
			t.Fatalf("answered %v", got)
		}
		if relations(gateway) != 1 || last("A") != gateway.ID.String() {
			t.Errorf("%d relations; it was last behind %s", relations(gateway), last("A"))
		}
		told := p.told(entity.EntityCreated)
		if of := told[len(told)-1]; of.Originator.ID != ident.ID(got.GetDeviceId()) || of.Metadata["gatewayId"] != gateway.ID.String() {
			t.Errorf("told %+v", of)
		}
		again := p.ask(t, behind(gateway, "A", "meter")).GetDevice()
		if string(again.GetDeviceId()) != string(got.GetDeviceId()) || again.GetDeviceType() != "default" || again.GetVersion() != got.GetVersion() {
			t.Errorf("the second time: %v", again)
		}
	})
	t.Run("G02 with its profile", func(t *testing.T) {
		p.ask(t, behind(gateway, "B", "meter"))
		if profile, err := p.DeviceProfiles.ByName(t.Context(), p.tenant, "meter"); err != nil || profile.ID.IsZero() {
			t.Errorf("the profile is %v, %v", profile, err)
		}
	})
	t.Run("another gateway takes over", func(t *testing.T) {
		other := p.device(t, entity.Device{Name: "H"}, nil)
		before := p.ask(t, behind(gateway, "A", "")).GetDevice()
		after := p.ask(t, behind(other, "A", "")).GetDevice()
		if string(before.GetDeviceId()) != string(after.GetDeviceId()) || last("A") != other.ID.String() || relations(other) != 0 {
			t.Errorf("before %v, after %v, last behind %s", before, after, last("A"))
		}
	})
	t.Run("a device people made keeps what they wrote", func(t *testing.T) {
		p.device(t, entity.Device{Name: "P", AdditionalInfo: json.RawMessage(`{"description":"mine"}`)}, nil)
		p.ask(t, behind(gateway, "P", ""))
		d, err := p.Devices.ByName(t.Context(), p.tenant, "P")
		if want := `{"description":"mine","lastConnectedGateway":"` + gateway.ID.String() + `"}`; err != nil || string(d.AdditionalInfo) != want {
			t.Errorf("it has %s, %v", d.AdditionalInfo, err)
		}
	})
	t.Run("a name that cannot be", func(t *testing.T) {
		if got := p.ask(t, behind(gateway, "a\x00b", "")); fault.Kind(got.GetFault().GetKind()) != fault.Invalid {
			t.Errorf("answered %v", got)
		}
	})
	t.Run("a gateway of another tenant", func(t *testing.T) {
		foreign := gateway
		foreign.Tenant = p.newTenant(t, "Other")
		if got := p.ask(t, behind(foreign, "A", "")); !unknownAnswer(got) {
			t.Errorf("answered %v", got)
		}
	})
}

func TestManyAskForOneName(t *testing.T) {
	p := start(t)
	gateway := p.device(t, entity.Device{Name: "G"}, nil)
	answers := make(chan *sluicepb.TransportAnswer, 16)
	for range cap(answers) {
		go func() { answers <- p.ask(t, behind(gateway, "A", "new")) }()
	}
	found := map[string]bool{}
	for range cap(answers) {
		found[string((<-answers).GetDevice().GetDeviceId())] = true
	}
	relations, err := p.relations.From(t.Context(), p.tenant, gateway.ID.Entity(), "", "")
	if err != nil || len(found) != 1 || found[""] || len(relations) != 1 {
		t.Errorf("%d devices, %d relations, %v", len(found), len(relations), err)
	}
}

func TestG15NoMoreDevices(t *testing.T) {
	p := start(t)
	gateway := p.device(t, entity.Device{Name: "G"}, nil)
	p.limit(t, `{"maxDevices":3}`)
	answers := make(chan *sluicepb.TransportAnswer, 12)
	for i := range cap(answers) {
		go func() { answers <- p.ask(t, behind(gateway, fmt.Sprint("A", i), "")) }()
	}
	made, limited := 0, 0
	for range cap(answers) {
		switch got := <-answers; {
		case got.GetDevice() != nil:
			made++
		case fault.Kind(got.GetFault().GetKind()) == fault.Limited:
			limited++
		default:
			t.Errorf("answered %v", got)
		}
	}
	relations, err := p.relations.From(t.Context(), p.tenant, gateway.ID.Entity(), "", "")
	if err != nil || made != 2 || limited != 10 || len(relations) != 2 {
		t.Errorf("%d made, %d limited, %d relations, %v", made, limited, len(relations), err)
	}
	for i := range cap(answers) {
		if d, err := p.Devices.ByName(t.Context(), p.tenant, fmt.Sprint("A", i)); err == nil && p.ask(t, behind(gateway, d.Name, "")).GetDevice() == nil {
			t.Errorf("device %s is there and was refused", d.Name)
		}
	}
}
