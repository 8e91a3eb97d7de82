package transport

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// history is which event was the last about each device, as far back as it remembers. tb.events has
// one partition, so an event's offset says what came before and after it in the whole fleet: a verdict
// as of offset n holds while no event about its device is beyond n. That is how verdicts that other transports
// left in Redis are judged here, by nothing that Redis could lose. A nil history knows nothing.
type history struct {
	most int // events remembered

	mu sync.Mutex
	// known is set once everything behind floor has been heard of.
	known bool
	// wentBack is set when an offset came again; nothing is known until forget.
	wentBack bool
	life     [16]byte // which topic it is: another after it was made anew
	floor    int64    // events up to this offset may be unknown
	last     int64    // offset of the newest event; before known, of those heard
	of       map[ident.DeviceID]int64
	// heard lists the events in of, oldest first; those before head are gone.
	heard []deviceEvent
	head  int
}

type deviceEvent struct {
	offset int64
	device ident.DeviceID
}

// place is a place in tb.events: everything up to offset had happened.
type place struct {
	life   [16]byte
	offset int64
}

func newHistory(most int) *history {
	h := &history{most: most}
	h.forget()
	return h
}

// errWentBack: an offset came again, so the topic is not the one it was.
var errWentBack = errors.New("tb.events went back: it was made anew, or lost its end")

// forget starts anew; what comes next is heard from wherever the reading begins.
func (h *history) forget() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.wentBack = false, false
	h.floor, h.last = -1, -1
	h.of, h.heard, h.head = map[ident.DeviceID]int64{}, nil, 0
}

// hear notes an event, before anything else learns of it. False when it should have come earlier.
func (h *history) hear(r bus.Record) bool {
	if h == nil {
		return true
	}
	device, concerns, readable := deviceOf(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Offset <= h.last {
		h.known, h.wentBack = false, true
		return false
	}
	h.last = r.Offset
	switch {
	case !readable:
		h.floor = r.Offset // whatever it was about
	case concerns:
		h.add(deviceEvent{r.Offset, device})
	}
	return true
}

// learn completes what was heard by what the topic held before: read are its events, oldest first.
func (h *history) learn(past bus.Past, read []deviceEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	heard := h.heard[h.head:]
	for len(heard) > 0 && heard[0].offset < past.End {
		heard = heard[1:]
	}
	h.of, h.heard, h.head = map[ident.DeviceID]int64{}, nil, 0
	h.floor = max(h.floor, past.First-1)
	for _, events := range [][]deviceEvent{read, heard} {
		for _, e := range events {
			h.add(e)
		}
	}
	h.life, h.last, h.known = past.Life, max(h.last, past.End-1), !h.wentBack
}

// add remembers e, the newest, and forgets the oldest at the bound. Only under the lock.
func (h *history) add(e deviceEvent) {
	h.of[e.device] = e.offset
	h.heard = append(h.heard, e)
	if len(h.heard)-h.head <= h.most {
		return
	}
	oldest := h.heard[h.head]
	h.head++
	h.floor = max(h.floor, oldest.offset)
	if h.of[oldest.device] == oldest.offset {
		delete(h.of, oldest.device)
	}
	if h.head > h.most {
		h.heard = append([]deviceEvent(nil), h.heard[h.head:]...)
		h.head = 0
	}
}

// place returns where tb.events is, nil while that is not known.
func (h *history) place() *place {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return nil
	}
	return &place{h.life, h.last}
}

// holds reports whether what was so of a device as of p is still so, as far as was heard.
func (h *history) holds(device ident.DeviceID, p place) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, found := h.of[device]
	return h.known && p.life == h.life && p.offset >= h.floor && p.offset <= h.last && (!found || last <= p.offset)
}

// deviceOf tells which device an event is about, if it is about one.
func deviceOf(r bus.Record) (device ident.DeviceID, concerns, readable bool) {
	var e sluicepb.EntityEvent
	if err := proto.Unmarshal(r.Value, &e); err != nil {
		return device, false, false
	}
	switch e.GetEntity().GetType() {
	case ident.Device:
	case ident.DeviceProfile, ident.Tenant, ident.TenantProfile:
		return device, false, e.GetOwner() != nil // about devices nobody here knows all of: as good as unreadable
	default:
		return device, false, true
	}
	id, err := ident.FromBytes(e.GetEntity().GetId())
	return ident.DeviceID{ID: id}, err == nil, err == nil
}

// readHistory reads what tb.events held before this process listened, until it succeeds or ctx ends.
func (t *Transport) readHistory(ctx context.Context) {
	if t.history == nil {
		return
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, retryEvents) {
		var read []deviceEvent
		unknown := int64(-1) // the newest event left out
		past, err := t.bus.Past(ctx, topics.Events, func(r bus.Record) {
			switch device, concerns, readable := deviceOf(r); {
			case !readable:
				read, unknown = nil, r.Offset
			case concerns:
				read = append(read, deviceEvent{r.Offset, device})
			}
			if len(read) > 2*t.history.most {
				unknown = read[t.history.most-1].offset
				read = append([]deviceEvent(nil), read[t.history.most:]...)
			}
		})
		if err == nil {
			past.First = max(past.First, unknown+1)
			t.history.learn(past, read)
			return
		}
		if ctx.Err() != nil {
			return
		}
		t.log.Warn("reading past entity events failed; trying again", slog.Any("err", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
