package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// event is a rule message the platform makes itself.
type event struct {
	kind     string
	metadata map[string]string
	values   []values.KeyValue // or
	text     string
	at       time.Time
	bare     bool // it has no metadata
	// Of the device, where it is known.
	profile                ident.ID
	customer               ident.CustomerID
	deviceName, deviceType string
}

// raise runs e through originator's chain. The pack that is being handled waits for it. Entities of
// the system have no chain.
func (p *partition) raise(ctx context.Context, tenant ident.TenantID, originator ident.EntityID, e event) error {
	if tenant.IsZero() {
		return nil
	}
	if originator.Type == ident.Device && e.profile.IsZero() {
		if d := p.tracker.Known(ident.DeviceID{ID: originator.ID}); d != nil {
			e.of(d)
		}
	}
	body := rule.TextBody(e.text)
	if e.values != nil {
		body = rule.BodyOf(e.values)
	}
	f := &rule.Flight{
		Owner: &place{pack: p.current, record: -1},
		Message: rule.Message{
			ID: values.MessageID(ident.New()), Tenant: tenant, Originator: originator, Customer: e.customer, Profile: e.profile,
			Type: e.kind, Time: e.at.UnixMilli(), ReceivedAt: e.at.UnixMicro(),
			Metadata: rule.Metadata{DeviceName: e.deviceName, DeviceType: e.deviceType}.WithAll(e.metadata), Body: body,
		},
	}
	if e.bare {
		f.Message.Metadata = rule.Metadata{}
	}
	return p.begin(ctx, f)
}

func (e *event) of(d *state.Device) {
	e.profile, e.customer, e.deviceName, e.deviceType = d.Profile, d.Customer, d.Name, d.Type
}

// effects implements state.Effects.
type effects struct{ *partition }

// Keep stores changed and raises kind once that is durable.
func (p effects) Keep(d *state.Device, changed []values.KeyValue, kind, document string) {
	now := p.d.Now()
	e := event{kind: kind, text: document, at: now, metadata: map[string]string{"scope": telemetry.ScopeName(storage.Server)}}
	e.of(d)
	if d.Label != "" {
		e.metadata["deviceLabel"] = d.Label
	}
	tenant, originator := d.Tenant, d.ID.Entity()
	save := telemetry.Save{Tenant: tenant, Write: storage.Write{
		Entity: originator, Scope: storage.Server, Time: now.UnixMilli(), Values: changed,
	}}
	p.engine.Save(save, func(ctx context.Context, refusal error) error {
		if refusal != nil {
			return fmt.Errorf("store connectivity: %w", refusal)
		}
		if kind == "" {
			return nil
		}
		return p.raise(ctx, tenant, originator, e)
	})
}

// renew takes over what people changed of a device.
func (p *partition) renew(ctx context.Context, c change) error {
	if p.tracker.Known(c.device) == nil {
		return nil
	}
	var e entity.Device
	err := p.steady(ctx, "read a device", func() (err error) {
		e, err = p.d.Devices.Device(ctx, c.tenant, c.device)
		return err
	})
	if isGone(err) {
		return nil // its deletion comes by tb.core
	}
	if err == nil {
		p.tracker.Renew(e)
	}
	return err
}

// ruleMessage is m as it travels on the bus.
func ruleMessage(m *rule.Message) *sluicepb.RuleMessage {
	return &sluicepb.RuleMessage{
		Id: m.ID[:], TenantId: m.Tenant.ID[:],
		Originator: &sluicepb.EntityId{Type: m.Originator.Type, Id: m.Originator.ID[:]}, CustomerId: m.Customer.ID[:],
		Type: m.Type, TimeMs: m.Time, ReceivedAtUs: m.ReceivedAt, Index: int32(m.Index),
		Metadata: m.Metadata.All(), Data: []byte(m.Body.Text()),
	}
}
