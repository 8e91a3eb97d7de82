package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
)

// hold makes a pack of core messages; each is read when its turn comes.
func (p *pack) hold(records []bus.Record) {
	p.records, p.broken = records, nil
	p.next = records[len(records)-1].Offset + 1
	p.open, p.running = 1, 1
}

// coreMessage is one message of tb.core, read.
type coreMessage struct {
	record *bus.Record
	tenant ident.TenantID
	entity ident.EntityID
	body   *sluicepb.CoreMessage
}

// answer is what a caller is told once everything of its pack is durable.
type answer struct {
	record *bus.Record
	body   *sluicepb.CoreAnswer
}

// takeCore handles record i of a pack of core messages.
func (p *partition) takeCore(ctx context.Context, pk *pack, i int) error {
	p.tally.taken++
	m, err := readCore(&pk.records[i])
	if err != nil {
		p.buryRecord(pk, i, "decode", err)
		return nil
	}
	if p.d.Bus.Expired(pk.records[i]) {
		p.tally.refused++
		return nil
	}
	answered, err := p.dispatch(ctx, m)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fault.KindOf(err) == fault.Invalid:
		p.tally.refused++
	case err != nil:
		return err
	default:
		p.tally.processed++
	}
	if answered == nil && err != nil {
		answered = &sluicepb.CoreAnswer{Fault: fault.ToProto(err)}
	}
	if answered != nil {
		p.answers = append(p.answers, answer{m.record, answered})
	}
	return nil
}

func readCore(r *bus.Record) (coreMessage, error) {
	m := coreMessage{record: r, body: &sluicepb.CoreMessage{}}
	if err := proto.Unmarshal(r.Value, m.body); err != nil {
		return m, fmt.Errorf("parse core message: %w", err)
	}
	tenant, err := ident.FromBytes(m.body.GetTenantId())
	if err != nil {
		return m, fmt.Errorf("parse core message: tenant: %w", err)
	}
	id, err := ident.FromBytes(m.body.GetEntity().GetId())
	if err != nil || id.IsZero() {
		return m, fmt.Errorf("parse core message: entity of %d bytes", len(m.body.GetEntity().GetId()))
	}
	m.tenant = ident.TenantID{ID: tenant}
	m.entity = ident.EntityID{Type: m.body.GetEntity().GetType(), ID: id}
	return m, nil
}

// dispatch handles one core message. An answer is sent after the pack is durable. Errors of kind
// fault.Invalid are the message's own; every other ends the partition.
func (p *partition) dispatch(ctx context.Context, m coreMessage) (*sluicepb.CoreAnswer, error) {
	switch body := m.body.GetBody().(type) {
	case *sluicepb.CoreMessage_SessionOpened:
		return nil, p.sessionOpened(ctx, m, body.SessionOpened)
	case *sluicepb.CoreMessage_SessionClosed:
		return nil, p.withDevice(ctx, m, func(d *state.Device) {
			if id, err := ident.FromBytes(body.SessionClosed.GetSessionId()); err == nil {
				p.tracker.Closed(d, id, body.SessionClosed.GetClosedAtMs())
				p.requests.desk.Ended(d.ID, id)
			}
		})
	case *sluicepb.CoreMessage_Activity:
		return nil, p.withDevice(ctx, m, func(d *state.Device) { p.tracker.Active(d, body.Activity.GetLastActivityMs()) })
	case *sluicepb.CoreMessage_AttributesRequest:
		return p.readAttributes(ctx, m, body.AttributesRequest)
	case *sluicepb.CoreMessage_SaveAttributes:
		return p.saveAttributes(m, body.SaveAttributes)
	case *sluicepb.CoreMessage_SaveTelemetry:
		return p.saveTelemetry(m, body.SaveTelemetry)
	case *sluicepb.CoreMessage_DeleteAttributes:
		return p.deleteAttributes(ctx, m, body.DeleteAttributes)
	case *sluicepb.CoreMessage_DeleteTelemetry:
		return p.deleteTelemetry(ctx, m, body.DeleteTelemetry)
	case *sluicepb.CoreMessage_Claim:
		return nil, p.claim(ctx, m, body.Claim)
	case *sluicepb.CoreMessage_EntityLifecycle:
		return nil, p.lifecycle(ctx, m, body.EntityLifecycle)
	case *sluicepb.CoreMessage_Watch:
		return p.watch(body.Watch)
	case *sluicepb.CoreMessage_Trace:
		return p.tracesOf(m, body.Trace)
	case *sluicepb.CoreMessage_Source:
		return nil, p.sourceChanged(ctx, m, body.Source)
	case *sluicepb.CoreMessage_Unwatch:
		return nil, p.unwatch(body.Unwatch)
	}
	return p.dispatchRPC(ctx, m)
}

// dispatchRPC handles what is of requests to devices.
func (p *partition) dispatchRPC(ctx context.Context, m coreMessage) (*sluicepb.CoreAnswer, error) {
	switch body := m.body.GetBody().(type) {
	case *sluicepb.CoreMessage_SessionSubscribed:
		return nil, p.sessionSubscribed(ctx, m, body.SessionSubscribed)
	case *sluicepb.CoreMessage_RpcProgress:
		return nil, p.requests.progress(ctx, m, body.RpcProgress)
	case *sluicepb.CoreMessage_RpcReply:
		return nil, p.requests.reply(ctx, m, body.RpcReply)
	case *sluicepb.CoreMessage_SendRpc:
		return p.sendRPC(ctx, m, body.SendRpc)
	case *sluicepb.CoreMessage_DeleteRpc:
		return p.deleteRPC(ctx, m, body.DeleteRpc)
	}
	return nil, fault.New(fault.Invalid, "core message of no known kind")
}

// tracesLimit bounds one answer.
const tracesLimit = 100

func (p *partition) tracesOf(m coreMessage, q *sluicepb.TraceRequest) (*sluicepb.CoreAnswer, error) {
	limit := int(q.GetLimit())
	if limit <= 0 || limit > tracesLimit {
		limit = tracesLimit
	}
	document, err := json.Marshal(p.traces.Of(m.tenant, m.entity, limit))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "encode traces", err)
	}
	return &sluicepb.CoreAnswer{Document: document}, nil
}

// answer sends what callers wait for.
func (p *partition) answer() {
	for _, a := range p.answers {
		body, err := proto.Marshal(a.body)
		if err != nil {
			p.log.Error("answer a call", "err", err)
			continue
		}
		p.d.Bus.Answer(*a.record, body)
	}
	clear(p.answers)
	p.answers = p.answers[:0]
}

// withDevice calls f with the state of the message's device. A message of a device that is gone is done with.
func (p *partition) withDevice(ctx context.Context, m coreMessage, f func(*state.Device)) error {
	d, err := p.device(ctx, m.tenant, ident.DeviceID{ID: m.entity.ID})
	if isGone(err) {
		return nil
	}
	if err == nil {
		f(d)
	}
	return err
}

func (p *partition) sessionOpened(ctx context.Context, m coreMessage, opened *sluicepb.SessionOpened) error {
	id, err := ident.FromBytes(opened.GetSessionId())
	if err != nil || id.IsZero() {
		return fault.New(fault.Invalid, "session without an id")
	}
	if !opened.GetAgain() {
		p.d.Metrics.sessions.Inc()
	}
	p.g.transports.heard(opened.GetTransportNode())
	s := state.Session{
		ID: id, Node: opened.GetTransportNode(), Transport: opened.GetTransport(), OpenedAt: opened.GetOpenedAtMs(),
		Once: opened.GetOnce(), RPC: opened.GetRpc(), Attributes: opened.GetAttributes(),
	}
	var current *state.Device
	err = p.withDevice(ctx, m, func(d *state.Device) {
		over := p.tracker.Opened(d, s, opened.GetAgain())
		if over != nil {
			p.downlink(*over, d.ID, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_CloseSession{
				CloseSession: &sluicepb.CloseSession{Reason: sluicepb.CloseReason_TAKEN_OVER},
			}}, p.downlinkDone)
			p.requests.desk.Ended(d.ID, over.ID)
		}
		if over == nil || over.ID != id {
			current = d
		}
	})
	if err != nil || current == nil || !s.RPC {
		return err
	}
	return p.requests.subscribed(ctx, current, s)
}

func (p *partition) sessionSubscribed(ctx context.Context, m coreMessage, q *sluicepb.SessionSubscribed) error {
	id, err := ident.FromBytes(q.GetSessionId())
	if err != nil {
		return fault.Wrap(fault.Invalid, "subscription of a session", err)
	}
	var current *state.Device
	err = p.withDevice(ctx, m, func(d *state.Device) {
		if p.tracker.Subscribed(d, id, q.GetRpc()) != nil && q.GetRpc() {
			current = d
		}
	})
	if err != nil || current == nil {
		return err
	}
	return p.requests.subscribed(ctx, current, *current.Session)
}

// lifecycle takes an entity's creation or deletion into its rule chain, and keeps devices' state in step.
func (p *partition) lifecycle(ctx context.Context, m coreMessage, l *sluicepb.EntityLifecycle) error {
	device := ident.DeviceID{ID: m.entity.ID}
	if m.entity.Type == ident.Device {
		switch l.GetMessageType() {
		case entityCreated:
			if err := p.withDevice(ctx, m, p.tracker.Created); err != nil {
				return err
			}
		case entityDeleted:
			return p.deleted(ctx, m, l, device)
		}
	}
	return p.raise(ctx, m.tenant, m.entity, event{kind: l.GetMessageType(), metadata: l.GetMetadata(), text: l.GetData(), at: p.d.Now()})
}

func (p *partition) deleted(ctx context.Context, m coreMessage, l *sluicepb.EntityLifecycle, device ident.DeviceID) error {
	e := event{kind: l.GetMessageType(), metadata: l.GetMetadata(), text: l.GetData(), at: p.d.Now()}
	if d := p.tracker.Known(device); d != nil {
		e.profile, e.customer = d.Profile, d.Customer
		for _, s := range d.All() {
			p.downlink(s, d.ID, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_CloseSession{
				CloseSession: &sluicepb.CloseSession{Reason: sluicepb.CloseReason_DEVICE_DELETED},
			}}, p.downlinkDone)
		}
		p.tracker.Forget(device)
	}
	if err := p.requests.drop(ctx, m.tenant, device); err != nil {
		return err
	}
	// What was on its way when the device was deleted may have been stored since.
	if err := p.flush(ctx); err != nil {
		return err
	}
	err := p.steady(ctx, "delete an entity's values", func() error { return p.d.Store.DeleteEntity(ctx, m.entity) })
	if err != nil {
		return err
	}
	return p.raise(ctx, m.tenant, m.entity, e)
}

// downlink sends down to a session. It is a hint: what was to be told is stored, and asked for again on the
// next connection. done is called as Publish says, or at once.
func (p *partition) downlink(s state.Session, device ident.DeviceID, down *sluicepb.DeviceDownlink, done func(error)) {
	down.SessionId, down.DeviceId = s.ID[:], device.ID[:]
	value, err := proto.Marshal(down)
	if err == nil {
		err = p.d.Bus.Publish(bus.Message{Topic: responses + s.Node, Key: device.ID[:], Value: value}, done)
	}
	if err != nil {
		done(err)
	}
}

func (p *partition) downlinkDone(err error) {
	if err != nil {
		p.d.Metrics.downlinksLost.Inc()
	}
}

func millis(t time.Time) int64 { return t.UnixMilli() }
