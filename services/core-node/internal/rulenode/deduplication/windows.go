package deduplication

import (
	"container/heap"
	"errors"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

const (
	// arrayMost bounds the array of one window, in bytes, heldMost those of a node together.
	arrayMost = 256 << 10
	heldMost  = 32 << 20
	// openMost bounds the windows of a node.
	openMost = 100_000
)

var (
	errPending = errors.New("max limit of pending messages reached for the originator")
	errOpen    = errors.New("too many originators have messages that wait")
	errArray   = errors.New("the messages of the interval are too large for one array")
	errHeld    = errors.New("too much waits in this node")
)

// window is one interval of an originator: what goes on for it is stored, under its place. Here is what the next message needs.
type window struct {
	of    ident.EntityID
	place ident.ID
	start int64 // ms, by the messages' times
	due   time.Time
	count int
	// latest is the time of the message that goes on for LAST, ms.
	latest int64
	array  []byte // for ALL, without its end
}

// windows are those that are open. All partitions share them; a message of an originator comes when the one before is done with.
type windows struct {
	most     int
	interval time.Duration

	mu   sync.Mutex
	open map[ident.EntityID][]*window
	due  byDue
	held int
}

func newWindows(most int, interval time.Duration) *windows {
	return &windows{most: most, interval: interval, open: map[ident.EntityID][]*window{}}
}

// of returns the window a message of that time belongs to, and opens one if there is none.
func (w *windows) of(e ident.EntityID, at int64, now time.Time) (*window, error) {
	for len(w.due) > 0 && !w.due[0].due.After(now) {
		w.close(heap.Pop(&w.due).(*window))
	}
	pending := 0
	var found *window
	for _, one := range w.open[e] {
		pending += one.count
		if at >= one.start && at < one.start+w.interval.Milliseconds() {
			found = one
		}
	}
	switch {
	case pending >= w.most:
		return nil, errPending
	case found != nil:
		return found, nil
	case len(w.due) >= openMost:
		return nil, errOpen
	}
	from := now
	if t := time.UnixMilli(at); t.After(now) && t.Before(now.Add(w.interval)) {
		from = t
	}
	return &window{of: e, place: ident.New(), start: at, latest: at, due: from.Add(w.interval)}, nil
}

// took notes that w has one more message.
func (w *windows) took(one *window) {
	if one.count == 0 {
		w.open[one.of] = append(w.open[one.of], one)
		heap.Push(&w.due, one)
	}
	one.count++
}

// append puts an element into the array of a window, if there is room.
func (w *windows) append(one *window, element []byte) error {
	grown := len(element) + 1 // and what is before it
	switch {
	case len(one.array)+grown > arrayMost:
		return errArray
	case w.held+grown > heldMost:
		return errHeld
	}
	before := byte(',')
	if len(one.array) == 0 {
		before = '['
	}
	one.array = append(append(one.array, before), element...)
	w.held += grown
	return nil
}

// close forgets a window whose time has come.
func (w *windows) close(one *window) {
	left := w.open[one.of][:0]
	for _, other := range w.open[one.of] {
		if other != one {
			left = append(left, other)
		}
	}
	if len(left) == 0 {
		delete(w.open, one.of)
	} else {
		w.open[one.of] = left
	}
	w.held -= len(one.array)
}

// byDue is a heap, the earliest first.
type byDue []*window

func (b byDue) Len() int           { return len(b) }
func (b byDue) Less(i, j int) bool { return b[i].due.Before(b[j].due) }
func (b byDue) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }

// Push implements heap.Interface.
func (b *byDue) Push(x any) { *b = append(*b, x.(*window)) }

// Pop implements heap.Interface.
func (b *byDue) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}
