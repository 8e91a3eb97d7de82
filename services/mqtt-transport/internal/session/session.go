package session

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/gateway"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// Verdict is what is to be done next with a connection.
type Verdict byte

// The verdicts.
const (
	More    Verdict = iota // feed what was not taken together with what comes
	Connect                // call Session.Connect, then feed what was not taken
	Pause                  // read no more; feed what was not taken after Wire.Resume
	Full                   // read no more; feed what was not taken after Session.Room or Wire.Resume
	Close                  // write what is left and close
)

// phase is how far a connection has got.
type phase byte

const (
	fresh      phase = iota // nothing but CONNECT is taken
	connecting              // CONNECT came, CONNACK has not been sent
	accepted
)

// Session is one connection. Feed and Connect belong to one goroutine at a time, the reader's;
// all else may be called from any.
type Session struct {
	hub  *Hub
	wire Wire
	// due is the tick at which the client has been silent for too long.
	due atomic.Uint32
	// requestDue is the tick at which a request to a device was not acknowledged in time.
	requestDue atomic.Uint32

	// These are the reader's alone.
	patience uint32   // ticks the client may be silent
	hello    *hello   // of a client that is connecting
	taken    int      // messages taken on since Feed began, to be counted
	arrived  *carried // requests acknowledged since Feed began, to be reported unless they are answered as well

	// These are set before the session is accepted, and never changed.
	device         *transport.Device // nil: it comes for credentials
	behind         *gateway.Gateway  // the devices behind the client; nil: it is no gateway
	handle         transport.Session
	id             ident.ID
	version        packet.Version
	crowded        bool // there is no room for it
	receiveMaximum uint16
	packetMaximum  uint32

	mu    sync.Mutex
	phase phase
	// ending: nothing more is taken on; what is in flight is waited for, then the session closes.
	ending, closing bool
	paused          bool // the reader waits for Wire.Resume
	feeding         bool // the reader writes what comes up when it has fed
	writing         bool // somebody writes what was taken
	flushing        bool // Wire.Flush was called

	cause    Cause         // why it is closing
	shutdown packet.Reason // with which it closes once nothing is in flight
	style    topic.Style   // of the attribute updates, when updates
	rpcStyle topic.Style   // of the requests to the device, when rpc
	updates  bool
	rpc      bool
	reads    uint16 // attribute requests being answered
	inFlight uint16
	nextID   uint16
	acked    uint32 // acknowledged since the last Take, to be counted

	subscribed, atLeastOnce topic.Subscription

	first, last *message // in flight, in the order they came
	received    []uint16 // QoS 2 messages that wait for PUBREL
	out         *Output
	outbox      *outbox // nil: nothing waits, nor is unacknowledged
	stream      *stream // a package being sent; nil: none
	downloads   []*download
	life        *life // nil: nothing is waited for
}

// never is a due tick that does not come.
const never = math.MaxUint32

// New returns the session of a connection just accepted.
func New(h *Hub, w Wire) *Session {
	s := new(Session)
	s.Init(h, w)
	return s
}

// Init is New for a Session that is part of something larger.
func (s *Session) Init(h *Hub, w Wire) {
	s.hub, s.wire = h, w
	s.patience = h.ticksFor(h.rules.ConnectTimeout)
	s.due.Store(h.now.Load() + s.patience)
	s.requestDue.Store(never)
}

// refusalTime is how long a client that will be turned away has for its CONNECT.
const refusalTime = Tick

// TurnAway makes the answer to CONNECT that there is no room. Call it before the session is fed.
func (s *Session) TurnAway() {
	s.crowded = true
	s.patience = s.hub.ticksFor(refusalTime)
	s.due.Store(s.hub.now.Load() + s.patience)
}

// Feed takes the packets that b begins with and returns how many bytes they were. b is not kept.
// ctx bounds what the packets start that outlives Feed.
func (s *Session) Feed(ctx context.Context, b []byte) (n int, v Verdict) {
	if v = s.begin(); v != More {
		return 0, v
	}
	for n < len(b) {
		h, length, verdict := s.next(b[n:])
		if v = verdict; length == 0 || v != More {
			break
		}
		body := b[n+h.Size : n+length]
		if h.Type == packet.PUBLISH && s.phase == accepted {
			v = s.publish(ctx, h, body)
		} else {
			v = s.control(h, body)
		}
		if v == Full || v == Pause {
			break
		}
		n += length
		if v != More {
			break
		}
	}
	if n > 0 {
		s.due.Store(s.hub.now.Load() + s.patience)
		if s.behind != nil {
			s.behind.Active()
		}
	}
	if s.taken > 0 {
		s.hub.metrics.received.Add(float64(s.taken))
		s.taken = 0
	}
	return n, s.end(v)
}

// begin and end enclose what the reader does. Meanwhile others leave the writing to it.
func (s *Session) begin() Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return Close
	case s.ending:
		s.paused = true
		s.due.Store(never)
		return Pause
	}
	s.feeding = true
	return More
}

func (s *Session) end(v Verdict) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeding = false
	s.reportArrived()
	switch {
	case s.closing:
		return Close
	case s.ending:
		s.paused = true
		v = Pause
	}
	if v == Pause || v == Full {
		s.due.Store(never) // the silence is ours
	}
	return v
}

// next reads the header that b begins with. length is 0 while the packet is not complete.
func (s *Session) next(b []byte) (h packet.Header, length int, v Verdict) {
	limit := s.hub.rules.PacketBytes
	if s.phase == fresh {
		// Before CONNECT nothing else is even waited for.
		if packet.Type(b[0]>>4) != packet.CONNECT {
			return h, 0, s.refuse(CauseProtocol, packet.ErrType.Reason)
		}
		limit = s.hub.rules.ConnectBytes
	}
	h, err := packet.ReadHeader(b)
	switch {
	case err == packet.ErrShort:
		return h, 0, More
	case err != nil:
		return h, 0, s.violated(err)
	case h.Length > limit:
		return h, 0, s.refuse(CauseTooLarge, packet.PacketTooLarge)
	case len(b) < h.Size+h.Length:
		return h, 0, More
	}
	return h, h.Size + h.Length, More
}

// Missing tells how many bytes the packet that b begins with still needs, as far as b tells. b is
// what Feed did not take: its header was found acceptable, if it is there.
func Missing(b []byte) int {
	h, err := packet.ReadHeader(b)
	if err != nil {
		return 1
	}
	return max(1, h.Size+h.Length-len(b))
}

// control handles every packet but PUBLISH.
func (s *Session) control(h packet.Header, body []byte) Verdict {
	if err := h.CheckFlags(s.version); err != nil {
		return s.violated(err)
	}
	if s.phase == fresh {
		return s.hear(body)
	}
	var err *packet.Error
	switch h.Type {
	case packet.PINGREQ:
		s.pinged()
	case packet.PUBACK:
		err = s.answered(body)
	case packet.PUBREL:
		err = s.released(body)
	case packet.PUBREC, packet.PUBCOMP:
		// Answers to QoS 2, which is never sent.
	case packet.SUBSCRIBE:
		err = s.subscribe(body)
	case packet.UNSUBSCRIBE:
		err = s.unsubscribe(body)
	case packet.DISCONNECT:
		return s.refuse(CauseClient, packet.Success)
	default:
		// A second CONNECT is a protocol error too (MQTT-3.1.0-2).
		err = packet.ErrType
	}
	if err != nil {
		return s.violated(err)
	}
	return More
}

func (s *Session) pinged() {
	s.handle.Active()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(packet.AppendPingresp)
}

// Room returns a channel that is closed when a session that was Full may be fed again.
func (s *Session) Room() <-chan struct{} { return s.hub.platform.Room(s.device) }
