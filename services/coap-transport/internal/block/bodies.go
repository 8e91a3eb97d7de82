package block

import (
	"slices"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

// BodyLimits bound the bodies kept.
type BodyLimits struct {
	// TotalBytes is what all may hold; beyond it the oldest is forgotten.
	TotalBytes int
	// Lifetime is how long a body is kept.
	Lifetime time.Duration
}

// Bodies are answers and notifications of several blocks, one per endpoint and resource, so that the blocks a peer fetches are
// of one representation (RFC 7959 §2.4). One that is gone is made anew by whoever answers. Safe for concurrent use.
type Bodies struct {
	limits BodyLimits
	now    func() time.Duration

	mu     sync.Mutex
	byName map[Upload]*kept
	bytes  int
	order  []*kept // oldest first; those replaced are in it until it is their turn
}

type kept struct {
	name  Upload
	body  []byte
	until time.Duration
	gone  bool
}

// NewBodies returns Bodies without any.
func NewBodies(l BodyLimits, now func() time.Duration) *Bodies {
	return &Bodies{limits: l, now: now, byName: map[Upload]*kept{}}
}

// Keep holds body, which must not change, for the blocks of it that the endpoint will fetch.
func (b *Bodies) Keep(to exchange.Endpoint, digest uint64, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := Upload{to, digest}
	b.drop(b.byName[name])
	one := &kept{name: name, body: body, until: b.now() + b.limits.Lifetime}
	b.byName[name] = one
	b.order = append(b.order, one)
	b.bytes += len(body)
	if len(b.order) > 2*len(b.byName)+64 {
		b.order = slices.DeleteFunc(b.order, func(k *kept) bool { return k.gone })
	}
	for now := b.now(); len(b.order) > 0; b.order = b.order[1:] {
		first := b.order[0]
		if !first.gone && first.until > now && b.bytes <= b.limits.TotalBytes {
			break
		}
		b.drop(first)
		b.order[0] = nil
	}
}

// Find returns what Keep was given last, nil when it is gone.
func (b *Bodies) Find(to exchange.Endpoint, digest uint64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.byName[Upload{to, digest}]
	if one == nil || one.until <= b.now() {
		return nil
	}
	return one.body
}

// Bytes returns what is held.
func (b *Bodies) Bytes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

func (b *Bodies) drop(one *kept) {
	if one == nil || one.gone {
		return
	}
	one.gone = true
	b.bytes -= len(one.body)
	one.body = nil
	if b.byName[one.name] == one {
		delete(b.byName, one.name)
	}
}
