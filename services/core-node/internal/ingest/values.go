package ingest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

const (
	responses     = topics.TransportResponses
	entityCreated = rule.EntityCreated
	entityDeleted = rule.EntityDeleted
)

func isGone(err error) bool { return errors.Is(err, storage.ErrNotFound) }

// timeoutChange is a device's own inactivity timeout that was saved.
type timeoutChange struct {
	tenant ident.TenantID
	device ident.DeviceID
	ms     int64
}

// stored implements rule.Options.Stored: it tells the device of shared attributes, and its state of a
// new timeout (after the flush: that may save again).
func (p *partition) stored(s *telemetry.Save) {
	if s.Entity.Type != ident.Device {
		return
	}
	device := ident.DeviceID{ID: s.Entity.ID}
	switch s.Scope {
	case storage.Shared:
		if s.Notify {
			p.tellDevice(device, values.ToProto(s.Values), nil)
		}
	case storage.Server:
		for _, kv := range s.Values {
			if kv.Key == state.TimeoutAttribute {
				p.timeouts = append(p.timeouts, timeoutChange{s.Tenant, device, state.Timeout(kv.Value)})
			}
		}
	}
}

func (p *partition) applyTimeouts(ctx context.Context) error {
	changes := p.timeouts
	p.timeouts = nil
	for _, c := range changes {
		d, err := p.device(ctx, c.tenant, c.device)
		if isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		p.tracker.TimeoutChanged(d, c.ms)
	}
	return nil
}

func (p *partition) tellDevice(device ident.DeviceID, updated []*sluicepb.KeyValue, deleted []string) {
	d := p.tracker.Known(device)
	if d == nil {
		return
	}
	for _, s := range d.Told(func(s *state.Session) bool { return !s.Once || s.Attributes }) {
		p.downlink(s, d.ID, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_AttributesUpdated{
			AttributesUpdated: &sluicepb.AttributesUpdated{Updated: updated, Deleted: deleted},
		}}, p.downlinkDone)
	}
}

// readAttributes answers a device; what it wrote before is there.
func (p *partition) readAttributes(ctx context.Context, m coreMessage, q *sluicepb.AttributesRequest) (*sluicepb.CoreAnswer, error) {
	if p.saver.Touches(m.entity) {
		if err := p.flush(ctx); err != nil {
			return nil, err
		}
	}
	answered := &sluicepb.CoreAnswer{}
	var err error
	if answered.ClientAttributes, err = p.attributes(ctx, m.entity, storage.Client, q.GetAllClient(), q.GetClientKeys()); err != nil {
		return nil, err
	}
	answered.SharedAttributes, err = p.attributes(ctx, m.entity, storage.Shared, q.GetAllShared(), q.GetSharedKeys())
	return answered, err
}

func (p *partition) attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, all bool, keys []string) ([]*sluicepb.KeyValue, error) {
	if all {
		keys = nil
	} else if len(keys) == 0 {
		return nil, nil
	}
	var entries []storage.Entry
	err := p.steady(ctx, "read attributes", func() (err error) {
		entries, err = p.d.Store.Attributes(ctx, e, scope, keys)
		return err
	})
	if errors.Is(err, storage.ErrInvalid) {
		return nil, fault.Wrap(fault.Invalid, "read attributes", err)
	}
	kvs := make([]values.KeyValue, len(entries))
	for i, entry := range entries {
		kvs[i] = entry.KeyValue
	}
	return values.ToProto(kvs), err
}

// save stores s for the caller of m, who is answered then. done is called once it is durable.
func (p *partition) save(m coreMessage, s telemetry.Save, done func(context.Context) error) {
	s.Tenant, s.Entity = m.tenant, m.entity
	answered := &sluicepb.CoreAnswer{}
	p.answers = append(p.answers, answer{m.record, answered})
	p.engine.Save(s, func(ctx context.Context, refusal error) error {
		if refusal != nil {
			answered.Fault = fault.ToProto(fault.Wrap(fault.Invalid, "store values", refusal))
			return nil
		}
		return done(ctx)
	})
}

func (p *partition) saveAttributes(m coreMessage, q *sluicepb.SaveAttributes) (*sluicepb.CoreAnswer, error) {
	scope, ok := telemetry.ParseScope(q.GetScope())
	if !ok {
		return nil, fault.New(fault.Invalid, "there is no attribute scope "+strconv.Quote(q.GetScope()))
	}
	if len(q.GetValues()) == 0 {
		return &sluicepb.CoreAnswer{}, nil
	}
	now := p.d.Now()
	kvs := values.FromProto(q.GetValues())
	save := telemetry.Save{Write: storage.Write{Scope: scope, Time: millis(now), Values: kvs}, Notify: true}
	p.save(m, save, func(ctx context.Context) error {
		return p.raise(ctx, m.tenant, m.entity, event{
			kind: rule.AttributesUpdated, metadata: map[string]string{"scope": q.GetScope()}, values: kvs, at: now,
		})
	})
	return nil, nil //nolint:nilnil // answered by save
}

func (p *partition) saveTelemetry(m coreMessage, q *sluicepb.SaveTelemetry) (*sluicepb.CoreAnswer, error) {
	records := slices.DeleteFunc(q.GetRecords(), func(r *sluicepb.TimedValues) bool { return len(r.GetValues()) == 0 })
	if len(records) == 0 {
		return &sluicepb.CoreAnswer{}, nil
	}
	now := p.d.Now()
	text := []byte(`{"timeseries":[`)
	for i, r := range records {
		kvs := values.FromProto(r.GetValues())
		write := storage.Write{
			Scope: storage.Timeseries, Time: r.GetTimeMs(), TTL: time.Duration(q.GetTtlMs()) * time.Millisecond, Values: kvs,
		}
		text = telemetry.AppendRecord(text, telemetry.Timed{Time: r.GetTimeMs(), Values: kvs})
		if i < len(records)-1 {
			text = append(text, ',')
			p.saveQuietly(m, write)
			continue
		}
		text = append(text, "]}"...)
		p.save(m, telemetry.Save{Write: write}, func(ctx context.Context) error {
			return p.raise(ctx, m.tenant, m.entity, event{kind: rule.TimeseriesUpdated, text: string(text), at: now})
		})
	}
	return nil, nil //nolint:nilnil // answered by save
}

// saveQuietly stores one of several records of a call; the call is answered with the last of them.
func (p *partition) saveQuietly(m coreMessage, w storage.Write) {
	w.Entity = m.entity
	p.engine.Save(telemetry.Save{Write: w, Tenant: m.tenant}, func(context.Context, error) error { return nil })
}

func (p *partition) deleteAttributes(ctx context.Context, m coreMessage, q *sluicepb.DeleteAttributes) (*sluicepb.CoreAnswer, error) {
	scope, ok := telemetry.ParseScope(q.GetScope())
	if !ok {
		return nil, fault.New(fault.Invalid, "there is no attribute scope "+strconv.Quote(q.GetScope()))
	}
	err := p.remove(ctx, "delete attributes", func() error { return p.d.Store.DeleteAttributes(ctx, m.entity, scope, q.GetKeys()) })
	if err != nil {
		return nil, err
	}
	p.attributesDeleted(telemetry.Deletion{Tenant: m.tenant, Entity: m.entity, Scope: scope, Keys: q.GetKeys(), Notify: true})
	return &sluicepb.CoreAnswer{}, p.raise(ctx, m.tenant, m.entity, event{
		kind: rule.AttributesDeleted, metadata: map[string]string{"scope": q.GetScope()},
		text: `{"attributes":` + string(telemetry.AppendTexts(nil, q.GetKeys())) + `}`, at: p.d.Now(),
	})
}

// attributesDeleted implements rule.Options.Deleted: it tells who watches, the device of shared attributes, and its state of a timeout that is gone.
func (p *partition) attributesDeleted(d telemetry.Deletion) {
	p.tellWatchers(d.Entity, d.Scope, d.Keys)
	if d.Entity.Type != ident.Device {
		return
	}
	device := ident.DeviceID{ID: d.Entity.ID}
	switch {
	case d.Scope == storage.Shared && d.Notify:
		p.tellDevice(device, nil, d.Keys)
	case d.Scope == storage.Server && slices.Contains(d.Keys, state.TimeoutAttribute):
		p.timeouts = append(p.timeouts, timeoutChange{d.Tenant, device, 0})
	}
}

func (p *partition) deleteTelemetry(ctx context.Context, m coreMessage, q *sluicepb.DeleteTelemetry) (*sluicepb.CoreAnswer, error) {
	within := storage.Span{Start: q.GetStartMs(), End: q.GetEndMs()}
	if q.GetAllData() {
		within = storage.Span{Start: minTime, End: maxTime}
	}
	err := p.remove(ctx, "delete time series", func() error { return p.d.Store.DeleteSeries(ctx, m.entity, q.GetKeys(), within) })
	if err == nil {
		err = p.deleteLatest(ctx, m, q, within)
	}
	if err != nil {
		return nil, err
	}
	text := append([]byte(`{"timeseries":`), telemetry.AppendTexts(nil, q.GetKeys())...)
	text = strconv.AppendInt(append(text, `,"startTs":`...), within.Start, 10)
	text = strconv.AppendInt(append(text, `,"endTs":`...), within.End, 10)
	return &sluicepb.CoreAnswer{}, p.raise(ctx, m.tenant, m.entity, event{
		kind: rule.TimeseriesDeleted, text: string(append(text, '}')), at: p.d.Now(),
	})
}

// The ends of time, ms; far enough from those of the type to count with.
const (
	maxTime = int64(1) << 62
	minTime = -maxTime
)

// deleteLatest removes latest values whose row was deleted, and puts the newest row left in their place if that is asked for.
func (p *partition) deleteLatest(ctx context.Context, m coreMessage, q *sluicepb.DeleteTelemetry, within storage.Span) error {
	if !q.GetDeleteLatest() && !q.GetRewriteLatestIfDeleted() {
		return nil
	}
	var entries []storage.Entry
	err := p.steady(ctx, "read latest values", func() (err error) {
		entries, err = p.d.Store.Latest(ctx, m.entity, q.GetKeys())
		return err
	})
	if err != nil {
		return err
	}
	var gone []string
	for _, e := range entries {
		if e.Time >= within.Start && e.Time < within.End {
			gone = append(gone, e.Key)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := p.remove(ctx, "delete latest values", func() error { return p.d.Store.DeleteLatest(ctx, m.entity, gone) }); err != nil {
		return err
	}
	if q.GetRewriteLatestIfDeleted() {
		return p.rewriteLatest(ctx, m, gone)
	}
	p.tellWatchers(m.entity, storage.Timeseries, gone)
	return nil
}

func (p *partition) rewriteLatest(ctx context.Context, m coreMessage, keys []string) error {
	for _, key := range keys {
		var newest *storage.Point
		err := p.steady(ctx, "read a time series", func() error {
			for point, err := range p.d.Store.Range(ctx, m.entity, key, storage.Span{Start: minTime, End: maxTime}, true) {
				if err != nil {
					return err
				}
				newest = &point
				break
			}
			return nil
		})
		if err != nil {
			return err
		}
		if newest != nil {
			p.saveQuietly(m, storage.Write{
				Scope: storage.Timeseries, Time: newest.Time, SkipHistory: true,
				Values: []values.KeyValue{{Key: key, Value: newest.Value}},
			})
		}
	}
	return nil
}

// remove runs a deletion after everything saved before it.
func (p *partition) remove(ctx context.Context, doing string, op func() error) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	err := p.steady(ctx, doing, op)
	if errors.Is(err, storage.ErrInvalid) {
		return fault.Wrap(fault.Invalid, doing, err)
	}
	return err
}

func (p *partition) tellWatchers(e ident.EntityID, scope storage.Scope, deleted []string) {
	if p.audience.Watched(e) {
		p.audience.Publish([]live.Update{{Entity: e, Scope: scope, Time: millis(p.d.Now()), Deleted: deleted}})
	}
}
