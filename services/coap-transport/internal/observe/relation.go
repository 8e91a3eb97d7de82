package observe

import (
	"math/rand/v2"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/form"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// confirmEvery is how long notifications may go unconfirmed (RFC 7641 §4.5).
const confirmEvery = 24 * time.Hour

// relation is one (RFC 7641 §4.1). It is guarded by its device's lock.
type relation struct {
	Target
	kind     Kind
	sequence uint32 // of the next notification
	id       uint16 // of the last message
	started  bool
	// sent says that a message waits for its outcome; request is the one it carries, if asking.
	sent, probing, asking bool
	proven                bool // the client answered something: the address is not another's
	request               transport.RPCRequest
	patience              *time.Timer   // for the acknowledgement of request
	heardAt               time.Duration // when anything last came from the endpoint
	confirmedAt           time.Duration // when a notification was last acknowledged
}

func newRelation(k Kind, t Target, now time.Duration) *relation {
	return &relation{Target: t, kind: k, id: uint16(rand.Uint32()), heardAt: now, confirmedAt: now}
}

// next returns the next sequence number, of 24 bits (RFC 7641 §3.4).
func (r *relation) next() uint32 {
	n := r.sequence
	r.sequence = (n + 1) & 0xffffff
	return n
}

// flush tells r what there is to tell, one message at a time.
func (d *device) flush(r *relation) {
	for r.started && !r.sent {
		now, options := d.of.Now(), d.device.Options()
		if !d.power.reachable(now, options) {
			return
		}
		body, ok := d.take(r)
		if !ok {
			return
		}
		d.power.take(now, options)
		d.notify(r, now, body)
	}
}

// take removes the next thing that r is to be told.
func (d *device) take(r *relation) (body []byte, ok bool) {
	p := &d.pending
	switch {
	case r.kind == Attributes && len(p.updated) > 0:
		body = form.Updated(d.device, p.updated)
		p.updated = nil
		return body, true
	case r.kind == Attributes && len(p.deleted) > 0:
		body = form.Deleted(d.device, p.deleted)
		p.deleted = nil
		return body, true
	case r.kind == Attributes:
		return nil, false
	}
	for len(p.requests) > 0 {
		r.request = p.requests[0]
		p.requests = p.requests[1:]
		if !r.request.Expires.IsZero() && !time.Now().Before(r.request.Expires) {
			continue // nobody waits for it any more
		}
		var err error
		if body, err = d.write(r.request); err != nil {
			d.report(r.request, sluicepb.RpcStage_RPC_UNSENT)
			continue
		}
		r.asking = true
		return body, true
	}
	p.requests = nil
	return nil, false
}

// write writes a request as the device's profile wants it; an error: it does not fit the schema.
func (d *device) write(r transport.RPCRequest) ([]byte, error) {
	if form.Protobuf(d.device) {
		return d.of.Platform.EncodeRPC(d.device, r)
	}
	return form.Request(r), nil
}

// notify sends a notification, cut to its first block if it is longer.
func (d *device) notify(r *relation, now time.Duration, body []byte) {
	d.of.Wire.Forget(r.Endpoint, r.id)
	r.id++
	a := exchange.Answer{Code: packet.Content, HasObserve: true, Observe: r.next(), HasFormat: true, ContentFormat: r.Format, Payload: body}
	if block := (packet.Block{Exponent: r.BlockExponent, More: true}); len(body) > block.Size() {
		d.of.Bodies.Keep(r.Endpoint, r.Digest, body)
		a.Payload, a.HasBlock2, a.Block2, a.Size2 = body[:block.Size()], true, block.Value(), uint32(len(body))
	}
	id := r.id
	waits := d.of.Wire.Notify(now, exchange.Notice{
		To: r.Endpoint, Token: []byte(r.Token), ID: id, Answer: a,
		Confirmable: r.Confirmable || now-r.confirmedAt >= confirmEvery,
		Done:        func(o exchange.Outcome) { d.settle(r, id, o) },
	})
	d.of.Counts.Notified()
	r.sent = waits
	if !r.asking {
		return
	}
	if !waits {
		d.report(r.request, sluicepb.RpcStage_RPC_DELIVERED)
		r.asking = false
		return
	}
	d.report(r.request, sluicepb.RpcStage_RPC_SENT)
	if within := r.request.Acknowledge; within > 0 {
		r.patience = time.AfterFunc(within, func() { d.unacknowledged(r, id) })
	}
}

// settle is told what became of message id of r.
func (d *device) settle(r *relation, id uint16, o exchange.Outcome) {
	d.mu.Lock()
	if d.relations[r.kind] != r || r.id != id {
		d.mu.Unlock()
		return
	}
	now := d.of.Now()
	alive := o == exchange.Acknowledged || o == exchange.Rejected && r.probing
	if alive {
		r.heardAt, r.proven = now, true
		d.session.Active()
		if !r.probing {
			r.confirmedAt = now
		}
		d.asked(r, sluicepb.RpcStage_RPC_DELIVERED)
		r.sent, r.probing = false, false
		d.flush(r)
		d.mu.Unlock()
		return
	}
	d.asked(r, sluicepb.RpcStage_RPC_TIMED_OUT)
	r.sent, r.probing = false, false
	if o == exchange.Lost && saves(d.device.Options()) {
		d.mu.Unlock() // it sleeps; its next uplink goes on with this
		return
	}
	d.of.Counts.ObserverLost()
	end := d.drop(r)
	d.mu.Unlock()
	end()
}

// asked reports what became of the request in r's message, if there is one in it.
func (d *device) asked(r *relation, stage sluicepb.RpcStage) {
	if !r.asking {
		return
	}
	r.asking = false
	if r.patience != nil {
		r.patience.Stop()
	}
	d.report(r.request, stage)
}

// unacknowledged gives up a request that was not acknowledged in time. Whether the device is there at all is asked next.
func (d *device) unacknowledged(r *relation, id uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.relations[r.kind] != r || r.id != id || !r.asking {
		return
	}
	d.of.Wire.Forget(r.Endpoint, id)
	d.asked(r, sluicepb.RpcStage_RPC_TIMED_OUT)
	r.sent = false
	r.heardAt = min(r.heardAt, d.of.Now()-d.of.Limits.Probe)
	d.flush(r)
}

// recall takes back what r was sent and did not acknowledge; a request in it is the next to be sent.
func (d *device) recall(r *relation) {
	d.of.Wire.Forget(r.Endpoint, r.id)
	if r.asking {
		r.asking = false
		if r.patience != nil {
			r.patience.Stop()
		}
		d.pending.requests = append([]transport.RPCRequest{r.request}, d.pending.requests...)
	}
	r.sent, r.probing = false, false
}

// part tells r that it is over (device-api §4.2: 2.02).
func (d *device) part(r *relation) {
	d.recall(r)
	d.of.Wire.Notify(d.of.Now(), exchange.Notice{
		To: r.Endpoint, Token: []byte(r.Token), ID: r.id + 1, Confirmable: r.Confirmable,
		Answer: exchange.Answer{Code: packet.Deleted},
	})
}

// probe asks the client whether it is there, if nothing was heard of it for long, by a ping: any answer will do. Devices that save
// power are asked by nothing but what there is to tell them.
func (d *device) probe(r *relation) {
	now, due := d.of.Now(), d.of.Limits.Probe
	if !r.Confirmable && !r.proven && r.Endpoint.Session == 0 {
		due = activeEvery // who does not acknowledge anything might not be there at all (RFC 7641 §7)
	}
	if r.sent || now-r.heardAt < due || saves(d.device.Options()) {
		return
	}
	d.of.Wire.Forget(r.Endpoint, r.id)
	r.id++
	id := r.id
	r.sent, r.probing = true, true
	d.of.Wire.Notify(now, exchange.Notice{
		To: r.Endpoint, ID: id, Confirmable: true, Done: func(o exchange.Outcome) { d.settle(r, id, o) },
	})
}
