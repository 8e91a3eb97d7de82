// Package block keeps what goes in several blocks (RFC 7959): uploads until their last block is there, and bodies until their
// receiver has fetched them. Everything is bounded, in number, in bytes and in time.
package block

import (
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/order"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// UploadLimits bound uploads.
type UploadLimits struct {
	// BodyBytes is the largest upload.
	BodyBytes int
	// PerEndpoint is how many uploads an endpoint may have under way; the next makes its oldest be forgotten.
	PerEndpoint int
	// TotalBytes is what all uploads under way may hold; a block beyond it is refused.
	TotalBytes int
	// Idle is how long an upload waits for its next block.
	Idle time.Duration
}

// Upload names an upload: who sends it, and a digest of what for.
type Upload struct {
	From   exchange.Endpoint
	Digest uint64
}

// Progress is what a block did to its upload.
type Progress uint8

// The steps.
const (
	Continue Progress = iota // more blocks are wanted
	Complete                 // body is all of it
	Gap                      // the blocks before it are not here: start again
	TooLarge
	Full // there is no room for anyone's now
)

// Uploads are those under way. Safe for concurrent use.
type Uploads struct {
	limits UploadLimits
	now    func() time.Duration

	mu         sync.Mutex
	byName     map[Upload]*upload
	byEndpoint map[exchange.Endpoint]int
	bytes      int
	order      order.Queue[upload, *upload] // of the last block
}

type upload struct {
	order.Links[upload]
	name  Upload
	body  []byte
	until time.Duration
}

// NewUploads returns Uploads without any.
func NewUploads(l UploadLimits, now func() time.Duration) *Uploads {
	return &Uploads{limits: l, now: now, byName: map[Upload]*upload{}, byEndpoint: map[exchange.Endpoint]int{}}
}

// Add takes a block of u. With Complete body is the whole, which belongs to the caller.
func (s *Uploads) Add(u Upload, b packet.Block, payload []byte) (body []byte, p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	one := s.byName[u]
	at := int(b.Number) * b.Size()
	switch {
	case b.More && len(payload) != b.Size() || len(payload) > b.Size():
		return nil, Gap // RFC 7959 §2.2: a block that more follow is full
	case at+len(payload) > s.limits.BodyBytes:
		s.forget(one)
		return nil, TooLarge
	case b.Number == 0 && !b.More:
		s.forget(one)
		return append([]byte(nil), payload...), Complete
	case b.Number == 0:
		s.forget(one)
		one = s.begin(u)
	case one == nil:
		return nil, Gap
	case b.More && at+len(payload) == len(one.body) && string(one.body[at:]) == string(payload):
		return nil, Continue // it was here before; its answer was lost
	case at != len(one.body):
		s.forget(one)
		return nil, Gap
	}
	if s.bytes+len(payload) > s.limits.TotalBytes {
		s.forget(one)
		return nil, Full
	}
	one.body = append(one.body, payload...)
	s.bytes += len(payload)
	if !b.More {
		s.forget(one)
		return one.body, Complete
	}
	one.until = s.now() + s.limits.Idle
	s.order.Remove(one)
	s.order.Push(one)
	return nil, Continue
}

// Bytes returns what the uploads under way hold.
func (s *Uploads) Bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func (s *Uploads) begin(u Upload) *upload {
	if s.byEndpoint[u.From] >= s.limits.PerEndpoint {
		for one := s.order.First(); one != nil; one = one.Next() {
			if one.name.From == u.From {
				s.forget(one)
				break
			}
		}
	}
	one := &upload{name: u}
	s.byName[u] = one
	s.byEndpoint[u.From]++
	s.order.Push(one)
	return one
}

func (s *Uploads) expire() {
	now := s.now()
	for one := s.order.First(); one != nil && one.until <= now; one = s.order.First() {
		s.forget(one)
	}
}

// forget takes one out; nil does nothing.
func (s *Uploads) forget(one *upload) {
	if one == nil {
		return
	}
	delete(s.byName, one.name)
	if s.byEndpoint[one.name.From]--; s.byEndpoint[one.name.From] == 0 {
		delete(s.byEndpoint, one.name.From)
	}
	s.bytes -= len(one.body)
	s.order.Remove(one)
}
