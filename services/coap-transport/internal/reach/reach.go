// Package reach knows which peers are where they say. UDP's source addresses can be forged, so a peer that has not shown that
// it receives what is sent there must not get much more than it sent (RFC 9175 §2.4); it shows it by acknowledging a message of
// ours, or by sending back an Echo value.
package reach

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

// Limits bound what is answered and remembered.
type Limits struct {
	// Factor is how many times its request an answer may be long without proof; SmallBytes is what any answer may.
	Factor, SmallBytes int
	// Trials is how many longer answers one address gets in a minute without proof, each in a message whose acknowledgement is one.
	Trials int
	// Known is how many endpoints, and addresses with trials, are remembered; who does not fit has to prove itself.
	Known int
}

// Verdict says how an answer may go out.
type Verdict uint8

// The verdicts.
const (
	Free   Verdict = iota
	Prove          // so that the peer has to acknowledge it
	Refuse         // not at all: the peer is asked for its Echo
)

// The times of the book.
const (
	trialsFor = time.Minute
	knownFor  = 10 * time.Minute // at least; at most twice as long
	echoFor   = 5 * time.Minute
)

// Book is what is known of peers. Times are durations since a moment of the caller's choice. Safe for concurrent use.
type Book struct {
	limits Limits
	key    [sha256.Size]byte
	now    func() time.Duration

	mu sync.Mutex
	// known are endpoints with proof: those of this period, and of the one before.
	known, before map[exchange.Endpoint]struct{}
	turned        time.Duration
	trials        map[netip.Addr]int
	counted       time.Duration // since when trials are
}

// New returns an empty Book with a key of its own.
func New(l Limits, now func() time.Duration) *Book {
	b := &Book{limits: l, now: now, known: map[exchange.Endpoint]struct{}{}, trials: map[netip.Addr]int{}}
	rand.Read(b.key[:])
	return b
}

// Reached notes that e is where it says.
func (b *Book) Reached(e exchange.Endpoint) {
	if e.Session != 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	b.known[e] = struct{}{}
}

// turn forgets who was not heard of for long, earlier if there are too many.
func (b *Book) turn() {
	now := b.now()
	if now-b.turned >= knownFor || len(b.known) >= b.limits.Known/2 {
		b.known, b.before, b.turned = map[exchange.Endpoint]struct{}{}, b.known, now
	}
}

// Judge says how an answer of that many bytes may go to e, which sent that many. What it allows as a trial is counted as one.
func (b *Book) Judge(e exchange.Endpoint, request, answer int) Verdict {
	if e.Session != 0 || answer <= max(b.limits.SmallBytes, b.limits.Factor*request) {
		return Free
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	_, known := b.known[e]
	if _, earlier := b.before[e]; earlier && !known {
		b.known[e], known = struct{}{}, true
	}
	if known {
		return Free
	}
	if now := b.now(); now-b.counted >= trialsFor {
		clear(b.trials)
		b.counted = now
	}
	from := e.Peer.Addr()
	tried, counted := b.trials[from]
	if tried >= b.limits.Trials || !counted && len(b.trials) >= b.limits.Known {
		return Refuse
	}
	b.trials[from] = tried + 1
	return Prove
}

// stampSize is the seconds in an Echo value; the rest is proof that we made it, for this endpoint.
const (
	stampSize = 4
	echoSize  = 12
)

// Echo returns a value for e to send back.
func (b *Book) Echo(e exchange.Endpoint) []byte {
	stamp := binary.BigEndian.AppendUint32(nil, uint32(b.now()/time.Second))
	return append(stamp, b.proof(e, stamp)...)
}

// Accept reports whether value is one that e was given lately, and notes it.
func (b *Book) Accept(e exchange.Endpoint, value []byte) bool {
	if len(value) != echoSize {
		return false
	}
	stamp := value[:stampSize]
	age := b.now() - time.Duration(binary.BigEndian.Uint32(stamp))*time.Second
	if age < 0 || age > echoFor || subtle.ConstantTimeCompare(value[stampSize:], b.proof(e, stamp)) == 0 {
		return false
	}
	b.Reached(e)
	return true
}

func (b *Book) proof(e exchange.Endpoint, stamp []byte) []byte {
	mac := hmac.New(sha256.New, b.key[:])
	mac.Write(stamp)
	address := e.Peer.Addr().As16()
	mac.Write(address[:])
	mac.Write(binary.BigEndian.AppendUint16(nil, e.Peer.Port()))
	mac.Write([]byte{byte(e.Socket)})
	return mac.Sum(nil)[:echoSize-stampSize]
}
