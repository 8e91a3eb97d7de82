package session

import (
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// delivery is a PUBLISH to the client.
type delivery struct {
	topic   string
	payload []byte
	qos     byte
	request *carried // what it carries to a device; nil when nobody asks what becomes of it
	// whole is a package that is the payload, read as it is written; nil: payload is.
	whole *wholePackage
}

// size is how many bytes d is on the wire, at most as many as are held at a time of a payload that is read as it is written.
func (s *Session) size(d delivery) int {
	return packet.PublishSize(s.version, d.qos, d.topic, d.payload)
}

// carried is a request of the platform to the client, or to a device behind it. It is guarded by the session's lock.
type carried struct {
	transport.RPCRequest
	device  *transport.Device
	session ident.ID
	due     uint32   // the tick by which it is to be acknowledged, once it was sent
	settled bool     // the platform knows what became of it
	next    *carried // the one that arrived before it
}

// outbox holds what was sent to the client without being acknowledged, and what waits for its turn. Most connections have none.
type outbox struct {
	sent    []unacknowledged // in the order they were sent
	waiting []delivery
	bytes   int // of those waiting
}

// unacknowledged is a message at QoS 1 without PUBACK.
type unacknowledged struct {
	id      uint16
	request *carried
}

// send publishes to the client at the QoS f was subscribed with, at QoS 1 when it was not (answers need no
// subscription). Only under the lock.
func (s *Session) send(f topic.Filter, name string, payload []byte) {
	s.deliver(delivery{topic: name, payload: payload, qos: s.qosOf(f)})
}

func (s *Session) qosOf(f topic.Filter) byte {
	if s.subscribed.Has(f) && !s.atLeastOnce.Has(f) {
		return 0
	}
	return 1
}

// deliver sends d, or has it wait for its turn: messages keep their order. Only under the lock.
func (s *Session) deliver(d delivery) {
	if s.closing || s.phase != accepted {
		return // whose session is over is known to the platform
	}
	size := s.size(d)
	if s.packetMaximum > 0 && size > int(s.packetMaximum) {
		s.hub.metrics.oversize.Inc() // as if it had been sent (MQTT-3.1.2-25)
		s.settle(d.request, sluicepb.RpcStage_RPC_UNSENT)
		return
	}
	if d.request != nil && d.request.Again && s.repeat(d) {
		return
	}
	o := s.outbox
	if (o == nil || len(o.waiting) == 0) && s.mayWrite(d.qos, size) {
		s.publishNow(d, size)
		return
	}
	if o == nil {
		o = new(outbox)
		s.outbox = o
	}
	if messages, bytes := s.mayWait(); len(o.waiting) >= messages || len(o.waiting) > 0 && o.bytes+size > bytes {
		s.crowdedOut(d.request)
		return
	}
	o.waiting = append(o.waiting, d)
	o.bytes += size
}

// mayWait is how many messages may wait for the client, and how many bytes of them. A gateway is sent what many devices are.
func (s *Session) mayWait() (messages, bytes int) {
	if s.behind != nil {
		return max(s.hub.rules.Waiting, s.hub.rules.Gateways.Devices), max(s.hub.rules.OutputBytes, s.hub.rules.GatewayOutputBytes)
	}
	return s.hub.rules.Waiting, s.hub.rules.OutputBytes
}

// mayWrite reports whether a message may go out now: at QoS 1 the client must take one more (MQTT-3.3.4-9), and what is to be
// written must have room. A message larger than that goes alone.
func (s *Session) mayWrite(qos byte, size int) bool {
	switch {
	case qos > 0 && s.outbox != nil && len(s.outbox.sent) >= s.window():
		return false
	case s.stream != nil:
		return false
	default:
		return s.out == nil || s.out.messages == 0 || s.out.messages+size <= s.hub.rules.OutputBytes
	}
}

// window is how many messages at QoS 1 the client is sent without acknowledging any.
func (s *Session) window() int { return min(int(s.receiveMaximum), s.hub.rules.Unacknowledged) }

// crowdedOut answers for a message that may not even wait: a request is given back, to be sent later or to be given up; a client
// that takes nothing else either is too slow.
func (s *Session) crowdedOut(r *carried) {
	if r == nil {
		s.close(CauseSlow, packet.QuotaExceeded)
		return
	}
	s.hub.metrics.crowdedOut.Inc()
	s.giveBack(r)
}

// giveBack tells the platform that r was not sent.
func (s *Session) giveBack(r *carried) {
	if r.Persistent {
		s.settle(r, sluicepb.RpcStage_RPC_TIMED_OUT) // it comes again, later and later
		return
	}
	s.settle(r, sluicepb.RpcStage_RPC_UNSENT)
}

// publishNow writes d, which is size bytes.
func (s *Session) publishNow(d delivery, size int) {
	id := uint16(0)
	if d.qos > 0 {
		id = s.newID()
		if s.outbox == nil {
			s.outbox = new(outbox)
		}
		s.outbox.sent = append(s.outbox.sent, unacknowledged{id, d.request})
	}
	if d.whole != nil {
		s.beginStream(d, id)
		return
	}
	s.writeMessage(d, id, d.request != nil && d.request.Again && d.qos > 0, size)
}

func (s *Session) writeMessage(d delivery, id uint16, duplicate bool, size int) {
	s.hub.metrics.sent.Inc()
	o := s.output()
	o.messages += size
	o.Bytes = packet.AppendPublish(o.Bytes, s.version, d.qos, id, d.topic, d.payload)
	if duplicate {
		o.Bytes[len(o.Bytes)-size] |= packet.Duplicate
	}
	if d.request != nil {
		o.requests = append(o.requests, written{d.request, d.qos})
		s.expect(d.request)
	}
	s.wrote(o)
}

// newID returns a packet id that none of those unacknowledged has.
func (s *Session) newID() uint16 {
	for {
		if s.nextID++; s.nextID == 0 {
			s.nextID = 1
		}
		if s.outbox == nil || !slices.ContainsFunc(s.outbox.sent, func(u unacknowledged) bool { return u.id == s.nextID }) {
			return s.nextID
		}
	}
}

// repeat takes on a request that came before on this connection and has not been acknowledged: it goes on waiting, or is sent again
// under the id it has. MQTT 5 sends nothing again on one connection (MQTT-4.4.0-1): there its time begins anew. False: it did not come before.
func (s *Session) repeat(d delivery) bool {
	o := s.outbox
	if o == nil {
		return false
	}
	for i := range o.waiting {
		if r := o.waiting[i].request; r != nil && r.Request == d.request.Request {
			o.waiting[i].request = d.request
			return true
		}
	}
	for i := range o.sent {
		r := o.sent[i].request
		if r == nil || r.Request != d.request.Request {
			continue
		}
		if s.version == packet.V5 {
			o.sent[i].request = d.request
			s.expect(d.request)
			return true
		}
		d.qos = 1
		size := s.size(d)
		if s.out != nil && s.out.messages+size > s.hub.rules.OutputBytes || s.stream != nil {
			s.giveBack(d.request)
			return true
		}
		o.sent[i].request = d.request
		s.writeMessage(d, o.sent[i].id, true, size)
		return true
	}
	return false
}

// pump sends what waited and may be sent now. Only under the lock.
func (s *Session) pump() {
	o := s.outbox
	if o == nil || s.closing {
		return
	}
	taken := 0
	for taken < len(o.waiting) {
		d := o.waiting[taken]
		size := s.size(d)
		late := d.request != nil && time.Now().After(d.request.Expires)
		if !late && !s.mayWrite(d.qos, size) {
			break
		}
		taken++
		o.bytes -= size
		if late {
			s.hub.metrics.expired.Inc() // nobody waits for it any more
			continue
		}
		s.publishNow(d, size)
	}
	o.waiting = slices.Delete(o.waiting, 0, taken)
	if len(o.waiting) == 0 {
		o.waiting = nil
		if len(o.sent) == 0 {
			s.outbox = nil
		}
	}
}

// answered handles PUBACK: the client has what it was sent, or says that it refused it.
func (s *Session) answered(body []byte) *packet.Error {
	id, reason, err := packet.ParseAck(s.version, body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.outbox
	if o == nil {
		return nil
	}
	i := slices.IndexFunc(o.sent, func(u unacknowledged) bool { return u.id == id })
	if i < 0 {
		return nil
	}
	r := o.sent[i].request
	if o.sent = slices.Delete(o.sent, i, i+1); len(o.sent) == 0 {
		o.sent = nil
	}
	switch {
	case r == nil:
	case reason < packet.UnspecifiedError:
		s.delivered(r)
	default:
		s.settle(r, sluicepb.RpcStage_RPC_TIMED_OUT)
	}
	s.pump()
	return nil
}

// delivered reports that the client has r. The answer to one that is not persistent says so too, and often comes in the same
// segment: then the report, a message on the bus, is spared.
func (s *Session) delivered(r *carried) {
	r.settled = true
	if r.Persistent {
		s.report(r, sluicepb.RpcStage_RPC_DELIVERED)
		return
	}
	r.next, s.arrived = s.arrived, r
}

// reportArrived reports those that were not answered by what was fed. Only under the lock.
func (s *Session) reportArrived() {
	for r := s.arrived; r != nil; r = r.next {
		s.report(r, sluicepb.RpcStage_RPC_DELIVERED)
	}
	s.arrived = nil
}

// repliedTo forgets those of a number whose answer the bus has taken on. Only by the reader.
func (s *Session) repliedTo(number int32) {
	for at := &s.arrived; *at != nil; {
		if r := *at; r.ID == number {
			*at = r.next
		} else {
			at = &r.next
		}
	}
}

// written is a request whose bytes are in an Output.
type written struct {
	request *carried
	qos     byte
}

// sentOut tells the platform of requests whose bytes were written. Only under the lock.
func (s *Session) sentOut(requests []written) {
	for _, w := range requests {
		switch {
		case w.request.settled:
		case w.qos == 0:
			s.settle(w.request, sluicepb.RpcStage_RPC_DELIVERED)
		default:
			s.report(w.request, sluicepb.RpcStage_RPC_SENT)
		}
	}
}

// settle reports what became of r, once.
func (s *Session) settle(r *carried, stage sluicepb.RpcStage) {
	if r == nil || r.settled {
		return
	}
	r.settled = true
	s.report(r, stage)
}

func (s *Session) report(r *carried, stage sluicepb.RpcStage) {
	s.hub.platform.ReportRPC(r.device, r.session, r.RPCRequest, stage)
}

// expect notes by when r is to be acknowledged. Only under the lock.
func (s *Session) expect(r *carried) {
	r.due = never
	if r.Acknowledge <= 0 {
		return
	}
	r.due = s.hub.now.Load() + s.hub.ticksFor(r.Acknowledge)
	s.requestDue.Store(min(s.requestDue.Load(), r.due))
}

// expireRequests ends the time of a client that was answered and is nobody, and reports the requests that were not acknowledged
// in time. They stay in the client's hands: it may still acknowledge them, and until then they take up its window.
func (s *Session) expireRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, next := s.hub.now.Load(), uint32(never)
	if s.device == nil {
		s.close(CauseProvisioned, packet.AdministrativeAction)
		return
	}
	if s.outbox != nil && !s.closing {
		for _, u := range s.outbox.sent {
			switch {
			case u.request == nil || u.request.settled:
			case now >= u.request.due:
				s.settle(u.request, sluicepb.RpcStage_RPC_TIMED_OUT)
			default:
				next = min(next, u.request.due)
			}
		}
	}
	s.requestDue.Store(next)
}
