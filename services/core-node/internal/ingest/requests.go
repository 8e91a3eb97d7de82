package ingest

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
)

// requests is what the partition has to do with requests to devices: the desk knows what is to be done, here it is done.
type requests struct {
	p      *partition
	desk   *rpc.Desk
	keeper rpc.Keeper
	// unfinished is what the list of the partition has of devices whose persistent requests are not loaded.
	unfinished map[ident.DeviceID][]rpc.Unfinished
	alarm      *time.Timer
	// later is what of rule chains has yet to be kept in the store, until its device answers; goingOn what goes on because it did.
	later   []*question
	goingOn []*question
	// As published.
	pending, durable int
}

func newRequests(p *partition) *requests {
	q := &requests{
		p: p, keeper: rpc.Keeper{Rows: p.d.Rows, Retention: p.c.RPC.Retention}, unfinished: map[ident.DeviceID][]rpc.Unfinished{},
		alarm: time.NewTimer(time.Hour),
	}
	q.desk = rpc.NewDesk(p.c.RPC, q, p.d.Now)
	return q
}

// load finds what has yet to end in the partition; of what, is read when its device is heard of, or it expires.
func (q *requests) load(ctx context.Context) error {
	all, err := q.keeper.Unfinished(ctx, q.p.lease.Partition())
	if err != nil {
		return err
	}
	clear(q.unfinished)
	for _, u := range all {
		q.unfinished[u.Device] = append(q.unfinished[u.Device], u)
	}
	return nil
}

func (q *requests) awaitLoaded() {
	for _, all := range q.unfinished {
		for _, u := range all {
			q.desk.Await(u.Tenant, u.Device, u.Expires)
		}
	}
}

// ready loads a device's persistent requests if it has any, or always.
func (q *requests) ready(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, always bool) error {
	if !q.desk.Awaited(device) && (!always || q.desk.Loaded(device)) {
		return nil
	}
	var records []rpc.Record
	err := q.p.steady(ctx, "load requests to a device", func() (err error) {
		records, err = q.keeper.Of(ctx, tenant, device)
		return err
	})
	if err != nil {
		return err
	}
	listed := q.unfinished[device]
	delete(q.unfinished, device)
	q.desk.Load(tenant, device, records)
	open := map[ident.ID]bool{}
	for i := range records {
		open[records[i].ID] = !records[i].Over()
	}
	var stale [][]byte
	for _, u := range listed {
		if !open[u.ID] {
			stale = append(stale, u.Key())
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return q.p.steady(ctx, "forget requests to a device", func() error { return q.keeper.Forget(ctx, q.p.lease.Partition(), stale) })
}

// subscribed sends what waits to a session that takes requests now.
func (q *requests) subscribed(ctx context.Context, d *state.Device, s state.Session) error {
	if err := q.ready(ctx, d.Tenant, d.ID, false); err != nil {
		return err
	}
	if s.Once && !d.Waits(s.ID) { // what was loaded has gone to it
		return nil
	}
	if q.desk.Subscribed(d.ID, s) && s.Once {
		d.Told(func(o *state.Session) bool { return o.ID == s.ID })
	}
	return nil
}

func (q *requests) progress(ctx context.Context, m coreMessage, p *sluicepb.RpcProgress) error {
	device := ident.DeviceID{ID: m.entity.ID}
	if err := q.ready(ctx, m.tenant, device, false); err != nil {
		return err
	}
	q.desk.Progress(device, p)
	return nil
}

func (q *requests) reply(ctx context.Context, m coreMessage, r *sluicepb.RpcReply) error {
	device := ident.DeviceID{ID: m.entity.ID}
	if err := q.ready(ctx, m.tenant, device, false); err != nil {
		return err
	}
	q.desk.Reply(device, r)
	return nil
}

// due is ready when there is something to be done by the clock.
func (q *requests) due() <-chan time.Time {
	at := q.desk.Due()
	if at.IsZero() {
		return nil
	}
	q.alarm.Reset(at.Sub(q.p.d.Now()))
	return q.alarm.C
}

func (q *requests) tick(ctx context.Context) error {
	for _, w := range q.desk.Tick() {
		if err := q.ready(ctx, w.Tenant, w.Device, true); err != nil {
			return err
		}
	}
	return nil
}

// unstored reports whether store has something to do.
func (q *requests) unstored() bool { return q.desk.Changed() || len(q.later)+len(q.goingOn) > 0 }

// store makes what happened durable, and goes on with what waited for that.
func (q *requests) store(ctx context.Context) error {
	if !q.p.lease.Valid() {
		return errLease
	}
	changes := q.desk.Changes()
	if len(changes) > 0 {
		err := q.p.steady(ctx, "store requests to devices", func() error {
			return q.keeper.Keep(ctx, q.p.lease.Partition(), changes, q.p.d.Now())
		})
		if err != nil {
			return err
		}
	}
	for i := range changes {
		if err := q.raise(ctx, &changes[i].Record); err != nil {
			return err
		}
	}
	q.desk.Stored(changes)
	return q.storeQuestions(ctx)
}

// raise tells the device's rule chain how far a persistent request got.
func (q *requests) raise(ctx context.Context, r *rpc.Record) error {
	text, err := r.Text()
	if err != nil {
		return err
	}
	return q.p.raise(ctx, r.Tenant, r.Device.Entity(), event{kind: "RPC_" + string(r.Status), text: string(text), at: q.p.d.Now(), bare: true})
}

// drop forgets the requests to a device that is gone.
func (q *requests) drop(ctx context.Context, tenant ident.TenantID, device ident.DeviceID) error {
	if err := q.ready(ctx, tenant, device, false); err != nil {
		return err
	}
	if err := q.store(ctx); err != nil {
		return err
	}
	var keys [][]byte
	for _, r := range q.desk.Drop(device) {
		u := rpc.Unfinished{ID: r.ID, Expires: r.Expires}
		keys = append(keys, u.Key())
	}
	return q.p.steady(ctx, "remove requests to a device", func() error {
		if len(keys) > 0 {
			if err := q.keeper.Forget(ctx, q.p.lease.Partition(), keys); err != nil {
				return err
			}
		}
		return q.keeper.Erase(ctx, tenant, device)
	})
}

// count publishes how many there are.
func (q *requests) count(pending, durable int) {
	q.p.d.Metrics.asked.Add(float64(pending - q.pending))
	q.p.d.Metrics.durable.Add(float64(durable - q.durable))
	q.pending, q.durable = pending, durable
}

// Reachable implements rpc.Effects.
func (q *requests) Reachable(device ident.DeviceID) []state.Session {
	d := q.p.tracker.Known(device)
	if d == nil {
		return nil
	}
	return d.Told(func(s *state.Session) bool { return s.RPC })
}

// Send implements rpc.Effects.
func (q *requests) Send(to state.Session, device ident.DeviceID, r *sluicepb.RpcRequest, call *bus.Record) {
	q.p.downlink(to, device, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_RpcRequest{RpcRequest: r}}, func(err error) {
		q.p.downlinkDone(err)
		if call != nil {
			q.p.reply(*call, sentOneWay(err))
		}
	})
}

// Close implements rpc.Effects.
func (q *requests) Close(session ident.ID, device ident.DeviceID) {
	d := q.p.tracker.Known(device)
	if d == nil || d.Session == nil || d.Session.ID != session {
		return
	}
	q.p.downlink(*d.Session, device, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_CloseSession{
		CloseSession: &sluicepb.CloseSession{Reason: sluicepb.CloseReason_RPC_NOT_DELIVERED},
	}}, q.p.downlinkDone)
}

// Answer implements rpc.Effects.
func (q *requests) Answer(call bus.Record, o rpc.Outcome) {
	q.p.answers = append(q.p.answers, answer{&call, o.Answer()})
}

// Count implements rpc.Effects.
func (q *requests) Count(fate string) { q.p.d.Metrics.requests.WithLabelValues(fate).Inc() }
