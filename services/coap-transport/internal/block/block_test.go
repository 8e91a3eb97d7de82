package block

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

var peer = exchange.Endpoint{Peer: netip.MustParseAddrPort("192.0.2.1:40000")}

func TestUploads(t *testing.T) {
	now := time.Duration(0)
	s := NewUploads(UploadLimits{BodyBytes: 100, PerEndpoint: 2, TotalBytes: 64, Idle: time.Minute}, func() time.Duration { return now })
	part := bytes.Repeat([]byte{'x'}, 16)
	add := func(digest uint64, number uint32, more bool, want Progress) {
		t.Helper()
		if _, got := s.Add(Upload{peer, digest}, packet.Block{Number: number, More: more}, part); got != want {
			t.Errorf("block %d of %d: %d, want %d", number, digest, got, want)
		}
	}
	add(1, 0, true, Continue)
	add(1, 1, true, Continue)
	add(1, 1, true, Continue) // its answer was lost
	add(1, 3, true, Gap)
	add(1, 2, false, Gap) // what was there is gone
	add(1, 0, true, Continue)
	add(2, 0, true, Continue)
	add(3, 0, true, Continue) // the endpoint's oldest makes room
	add(1, 1, false, Gap)
	add(2, 1, true, Continue)
	add(2, 2, true, Continue)
	add(3, 1, true, Full)
	add(2, 3, false, Complete) // the other is gone
	add(4, 7, true, TooLarge)
	now += time.Minute
	add(2, 3, false, Gap)
	if n := s.Bytes(); n != 0 {
		t.Errorf("%d bytes left", n)
	}
}

func TestBodies(t *testing.T) {
	now := time.Duration(0)
	b := NewBodies(BodyLimits{TotalBytes: 100, Lifetime: time.Minute}, func() time.Duration { return now })
	b.Keep(peer, 1, make([]byte, 60))
	b.Keep(peer, 1, make([]byte, 50))
	b.Keep(peer, 2, make([]byte, 50))
	if len(b.Find(peer, 1)) != 50 || len(b.Find(peer, 2)) != 50 || b.Bytes() != 100 {
		t.Errorf("%d bytes held", b.Bytes())
	}
	b.Keep(peer, 3, make([]byte, 10))
	if b.Find(peer, 1) != nil || b.Find(peer, 2) == nil || b.Bytes() != 60 {
		t.Errorf("%d bytes held at the bound", b.Bytes())
	}
	now += time.Minute
	if b.Find(peer, 3) != nil {
		t.Error("found after its time")
	}
	for n := range uint64(1000) {
		b.Keep(peer, n%3, make([]byte, 10))
	}
	if len(b.order) > 100 || b.Bytes() > 30 {
		t.Errorf("%d noted, %d bytes", len(b.order), b.Bytes())
	}
}

// FuzzUploads: whatever blocks come, what is held stays within the bounds and is what is counted, and a whole upload is
// what its blocks were.
func FuzzUploads(f *testing.F) {
	f.Add([]byte{0x00, 0x81, 0x12, 0x83, 0xff, 0x04})
	f.Fuzz(func(t *testing.T, steps []byte) {
		now := time.Duration(0)
		s := NewUploads(UploadLimits{BodyBytes: 100, PerEndpoint: 2, TotalBytes: 96, Idle: time.Minute}, func() time.Duration { return now })
		for i, step := range steps {
			u := Upload{peer, uint64(step >> 6)}
			u.From.Socket = int(step >> 5 & 1)
			b := packet.Block{Number: uint32(step >> 1 & 7), More: step&1 == 1, Exponent: step >> 4 & 1}
			size := b.Size()
			if step&0x18 == 0x18 {
				size = i % 20
			}
			body, p := s.Add(u, b, bytes.Repeat([]byte{step}, size))
			if p == Complete && len(body) != int(b.Number)*b.Size()+size {
				t.Fatalf("%d bytes complete block %d of %d", len(body), b.Number, b.Size())
			}
			held, perEndpoint := 0, map[exchange.Endpoint]int{}
			for name, one := range s.byName {
				held += len(one.body)
				perEndpoint[name.From]++
			}
			if held != s.bytes || held > 96 || len(perEndpoint) != len(s.byEndpoint) {
				t.Fatalf("%d bytes held, %d counted", held, s.bytes)
			}
			for e, n := range perEndpoint {
				if n > 2 || n != s.byEndpoint[e] {
					t.Fatalf("%d uploads of %v, %d counted", n, e, s.byEndpoint[e])
				}
			}
			now += time.Duration(step) * time.Second / 4
		}
	})
}
