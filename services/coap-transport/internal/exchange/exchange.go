// Package exchange is CoAP's message layer (RFC 7252 §4 and §5.2) as a state machine without
// I/O: datagrams, answers and the time go in, datagrams come out through a Sink. It tells a
// retransmission from a new request, acknowledges what takes long, and retransmits separate
// responses until they are acknowledged.
package exchange

import (
	"net/netip"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/order"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// The protocol's times (RFC 7252 §4.8).
const (
	// ackTimeout and ackRandom: a separate response is sent again after 2 to 3 s, then twice as long each time.
	ackTimeout    = 2 * time.Second
	ackRandom     = ackTimeout / 2
	maxRetransmit = 4
	// Lifetime is how long a peer's message id means the same message.
	Lifetime = 247 * time.Second
)

// Endpoint is where a datagram came from: the peer, and which of our sockets it reached. A secured connection is an endpoint of its
// own wherever its peer's address moves: then Session is its number, and the rest is empty.
type Endpoint struct {
	Peer    netip.AddrPort
	Socket  int
	Session uint64
}

// Sink takes the datagrams to be sent. It is called with the table locked: it must not block,
// nor call back. It does not keep datagram.
type Sink interface {
	Send(to Endpoint, datagram []byte)
}

// key names a message for as long as Lifetime (RFC 7252 §4.4).
type key struct {
	endpoint Endpoint
	id       uint16
}

// phase is how far an exchange has come.
type phase uint8

const (
	waiting      phase = iota // in hand; a duplicate gets nothing
	acknowledged              // confirmable: the empty acknowledgement went out, the response did not
	answered                  // a duplicate gets reply, if there is one
	superseded                // the peer uses the message id for something else: the answer has nowhere to go
)

// Exchange is one request in hand, or the memory of one. Whoever got it from Receive calls
// Answer once, from any goroutine.
type Exchange struct {
	table *Table
	key
	confirmable bool
	closed      bool // Answer was called
	phase       phase
	tokenSize   uint8
	token       [packet.MaxTokenSize]byte
	// fingerprint is the datagram's: a retransmission is the same datagram.
	fingerprint uint64
	// due is when to acknowledge (waiting) or to forget (answered).
	due time.Duration
	// reply is the datagram that answers a duplicate; nil: silence.
	reply []byte
	// neighbours in the queue that phase puts it in.
	order.Links[Exchange]
}

// Endpoint returns whom the request came from.
func (x *Exchange) Endpoint() Endpoint { return x.endpoint }

// Token returns the request's token, by which the peer knows the answers.
func (x *Exchange) Token() string { return string(x.token[:x.tokenSize]) }

// queue holds exchanges in order of due; all of a queue have the same delay, so the newest is the latest.
type queue = order.Queue[Exchange, *Exchange]
