package observe

import (
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/transport"
)

// activeEvery is how often a device with relations is told as active, well within the platform's inactivity time-out.
const activeEvery = time.Minute

// device is one that observes: its session, its relations, and what it is still to be told. It is the session's Downlinks.
type device struct {
	of *Relations
	id ident.DeviceID
	// ready is closed when session or failure is set.
	ready   chan struct{}
	failure error

	mu        sync.Mutex
	device    *transport.Device
	session   transport.Session
	relations [kinds]*relation
	ended     bool
	pending   pending
	power     power
	tick      *time.Timer
}

func newDevice(of *Relations, d *transport.Device) *device {
	return &device{of: of, id: d.ID, device: d, ready: make(chan struct{})}
}

// opened ends the wait for the session.
func (d *device) opened(s transport.Session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session, d.failure = s, err
	if err == nil && !d.ended {
		d.power.heard(d.of.Now())
		d.tick = time.AfterFunc(activeEvery, d.ticked)
	}
	close(d.ready)
}

// begin makes or refreshes a relation.
func (d *device) begin(k Kind, t Target) (*Registration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil, errEnded
	}
	now := d.of.Now()
	d.power.heard(now)
	old := d.relations[k]
	if old != nil && old.same(t) {
		d.recall(old)
		old.Target, old.started, old.heardAt = t, false, now
		return &Registration{d: d, r: old, Sequence: old.next()}, nil
	}
	if old != nil {
		d.part(old)
		d.of.Counts.Observers(-1)
	}
	r := newRelation(k, t, now)
	d.relations[k] = r
	d.of.Counts.Observers(1)
	return &Registration{d: d, r: r, Sequence: r.next()}, nil
}

// Start has the relation told of what comes, the first answer having been sent.
func (g *Registration) Start() {
	d := g.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.relations[g.r.kind] != g.r {
		return
	}
	g.r.started = true
	if g.r.kind == Requests {
		d.session.SubscribeRPC(true)
	}
	d.flush(g.r)
}

// Fail ends the relation, since there was no first answer.
func (g *Registration) Fail() {
	g.d.mu.Lock()
	end := g.d.drop(g.r)
	g.d.mu.Unlock()
	end()
}

// cancel ends a relation at the device's wish.
func (d *device) cancel(k Kind, t Target) {
	d.mu.Lock()
	end := func() {}
	if r := d.relations[k]; r != nil && r.same(t) {
		end = d.drop(r)
	}
	d.mu.Unlock()
	end()
}

// drop takes r away, and the session with the last. What it returns is to be called without the lock.
func (d *device) drop(r *relation) (end func()) {
	if d.relations[r.kind] != r {
		return func() {}
	}
	d.recall(r)
	d.relations[r.kind] = nil
	d.of.Counts.Observers(-1)
	if r.kind == Requests {
		d.session.SubscribeRPC(false)
		d.giveBack()
	} else {
		d.pending.updated, d.pending.deleted = nil, nil
	}
	for _, left := range d.relations {
		if left != nil {
			return func() {}
		}
	}
	d.ended = true
	d.stopTick()
	session := d.session
	return func() {
		d.of.remove(d)
		session.Close()
	}
}

// giveBack reports the requests that wait as not delivered, so that the platform may send those again that are to be kept.
func (d *device) giveBack() {
	for _, r := range d.pending.requests {
		d.report(r, sluicepb.RpcStage_RPC_TIMED_OUT)
	}
	d.pending.requests = nil
}

func (d *device) report(r transport.RPCRequest, stage sluicepb.RpcStage) {
	d.of.Platform.ReportRPC(d.device, d.session.ID(), r, stage)
}

// Close implements transport.Downlinks: the platform ended the session.
func (d *device) Close(sluicepb.CloseReason) { d.close(d.part) }

// close forgets the relations; part, which may be nil, is what is done with each.
func (d *device) close(part func(*relation)) {
	d.of.remove(d)
	d.mu.Lock()
	was, session := d.ended, d.session
	d.ended = true
	d.stopTick()
	for k, r := range d.relations {
		if r == nil {
			continue
		}
		d.recall(r)
		if part != nil {
			part(r)
		}
		d.relations[k] = nil
		d.of.Counts.Observers(-1)
	}
	d.mu.Unlock()
	if !was && session != nil {
		session.Close()
	}
}

func (d *device) stopTick() {
	if d.tick != nil {
		d.tick.Stop()
	}
}

// AttributesUpdated implements transport.Downlinks.
func (d *device) AttributesUpdated(updated []telemetry.KeyValue, deleted []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.relations[Attributes]
	if r == nil {
		return
	}
	if !d.pending.change(updated, deleted, d.of.Limits.Keys) {
		d.of.Counts.Unsaid()
	}
	d.flush(r)
}

// RPC implements transport.Downlinks.
func (d *device) RPC(request transport.RPCRequest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.relations[Requests]
	if r == nil || len(d.pending.requests) >= d.of.Limits.Requests {
		if d.session != nil {
			d.report(request, sluicepb.RpcStage_RPC_UNSENT)
		}
		d.of.Counts.Unsaid()
		return
	}
	d.pending.requests = append(d.pending.requests, request)
	d.flush(r)
}

// heard notes that the device sent something from an endpoint.
func (d *device) heard(from exchange.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.of.Now()
	d.power.heard(now)
	for _, r := range d.relations {
		if r == nil {
			continue
		}
		if r.Endpoint == from {
			r.heardAt = now
		}
		d.flush(r)
	}
}

// ticked says that the device is active, and asks it whether it is when it was silent for long.
func (d *device) ticked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.session.Active()
	for _, r := range d.relations {
		if r != nil && r.started {
			d.probe(r)
		}
	}
	d.tick.Reset(activeEvery)
}
