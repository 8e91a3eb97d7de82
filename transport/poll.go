package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// polls are the devices that wait for a single downlink without a session of their own: what they wait for is one session
// of kind once, however many of their requests wait.
type polls struct {
	t *Transport

	mu   sync.Mutex
	open map[pollKey]*poll
}

type pollKey struct {
	device ident.DeviceID
	rpc    bool // else attributes
}

// poll is one such session. It implements Downlinks; the first downlink ends it.
type poll struct {
	polls   *polls
	key     pollKey
	device  *Device
	session *session
	waiting int           // guarded by polls.mu
	over    chan struct{} // closed once what follows is set
	err     error
	updated []telemetry.KeyValue
	deleted []string
	request RPCRequest
}

// PollAttributes implements Polls.
func (t *Transport) PollAttributes(ctx context.Context, d *Device) (updated []telemetry.KeyValue, deleted []string, err error) {
	p, err := t.polls.wait(ctx, d, false)
	if err != nil {
		return nil, nil, err
	}
	return p.updated, p.deleted, nil
}

// PollRPC implements Polls.
func (t *Transport) PollRPC(ctx context.Context, d *Device) (RPCRequest, error) {
	p, err := t.polls.wait(ctx, d, true)
	if err != nil {
		return RPCRequest{}, err
	}
	return p.request, nil
}

// wait joins d's poll of that kind, opened if there is none, until it is over or ctx ends.
func (w *polls) wait(ctx context.Context, d *Device, rpc bool) (*poll, error) {
	now := time.Now()
	if !d.allowMessage(now) {
		return nil, ErrRateLimited
	}
	w.t.activity.note(d, now)
	p, first := w.join(d, rpc)
	if first {
		w.begin(ctx, p)
	}
	select {
	case <-p.over:
		return p, p.err
	case <-ctx.Done():
		w.leave(p)
		return nil, ctx.Err()
	}
}

// begin announces p. While the bus has no room, ctx is the first one's.
func (w *polls) begin(ctx context.Context, p *poll) {
	fail := func(err error) {
		if err != nil {
			p.end(func() { p.err = busFault("wait for a downlink", err) })
			w.t.sessions.close(p.session, "failed")
		}
	}
	for {
		err := w.t.sessions.open(p.session, fail)
		if !errors.Is(err, bus.ErrFull) {
			fail(err)
			return
		}
		select {
		case <-w.t.bus.Room(topics.Core, p.device.ID.ID[:]):
		case <-ctx.Done():
			fail(ctx.Err())
			return
		}
	}
}

func (w *polls) join(d *Device, rpc bool) (p *poll, first bool) {
	key := pollKey{d.ID, rpc}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p = w.open[key]; p != nil {
		p.waiting++
		return p, false
	}
	p = &poll{polls: w, key: key, device: d, waiting: 1, over: make(chan struct{})}
	p.session = w.t.sessions.new(d, "HTTP", p)
	p.session.once, p.session.rpc = true, rpc
	w.open[key] = p
	return p, true
}

// leave ends p when nobody waits any more.
func (w *polls) leave(p *poll) {
	w.mu.Lock()
	p.waiting--
	last := p.waiting == 0 && w.open[p.key] == p
	if last {
		delete(w.open, p.key)
	}
	w.mu.Unlock()
	if last {
		w.t.sessions.close(p.session, "transport")
	}
}

// of returns d's open polls.
func (w *polls) of(d ident.DeviceID) (found []*poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rpc := range []bool{false, true} {
		if p := w.open[pollKey{d, rpc}]; p != nil {
			found = append(found, p)
		}
	}
	return found
}

// end ends p with what set sets. False when it was over already.
func (p *poll) end(set func()) bool {
	p.polls.mu.Lock()
	defer p.polls.mu.Unlock()
	if p.polls.open[p.key] != p {
		return false
	}
	delete(p.polls.open, p.key)
	set()
	close(p.over)
	return true
}

// AttributesUpdated implements Downlinks.
func (p *poll) AttributesUpdated(updated []telemetry.KeyValue, deleted []string) {
	if p.end(func() { p.updated, p.deleted = updated, deleted }) {
		p.polls.t.sessions.expire(p.session)
	}
}

// RPC implements Downlinks. Whoever polls acknowledges nothing: handed out is delivered.
func (p *poll) RPC(r RPCRequest) {
	if p.end(func() { p.request = r }) {
		p.polls.t.sessions.expire(p.session)
		p.polls.t.ReportRPC(p.device, p.session.id, r, sluicepb.RpcStage_RPC_DELIVERED)
	}
}

// Close implements Downlinks.
func (p *poll) Close(reason sluicepb.CloseReason) {
	err := fault.New(fault.Unavailable, "the wait was ended")
	switch reason {
	case sluicepb.CloseReason_DEVICE_DELETED:
		err = ErrDeviceDeleted
	case sluicepb.CloseReason_CREDENTIALS_CHANGED:
		err = errUnknown
	}
	p.end(func() { p.err = err })
}
