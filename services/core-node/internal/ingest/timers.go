package ingest

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// timers is the partition's messages that go on later. Each is a row of the store, in a group of its hour; which hours
// there are is a group too. In memory is only when, and where. A message is in the store before its flight has ended, and
// leaves it when it has its fate, so it may come twice over a kill, never not at all.
type timers struct {
	rows      storage.Rows
	partition int
	most      int

	mu    sync.Mutex
	queue timerQueue
	// places are those in the queue that others may yet replace.
	places map[ident.ID]*queued
	// withdrawn are those in the queue that are not to be rung: something else has come first.
	withdrawn map[ident.ID]bool
	hours     map[int64]bool
	wake      chan struct{} // told when the earliest changed
	alarm     *time.Timer
}

// timer is one message: when, which, and its place if it has one.
type timer struct {
	due   int64 // ms
	id    ident.ID
	place ident.ID
}

// queued is a timer that has yet to ring, and where in the queue it is.
type queued struct {
	timer
	at int
}

type timerQueue []*queued

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push implements heap.Interface.
func (q *timerQueue) Push(x any) {
	one := x.(*queued)
	one.at = len(*q)
	*q = append(*q, one)
}

// Pop implements heap.Interface.
func (q *timerQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// errTooMany is of the message that would be one too many.
var errTooMany = errors.New("too many messages of the partition wait for their time")

const hourMillis = 60 * 60 * 1000

// hoursKnown bounds the hours remembered to be in the directory; noting one again does no harm.
const hoursKnown = 1024

// key is that of the timer's row: its time, its id, and its place if it has one.
func (t timer) key() []byte {
	key := append(binary.BigEndian.AppendUint64(nil, uint64(t.due)), t.id[:]...)
	if !t.place.IsZero() {
		key = append(key, t.place[:]...)
	}
	return key
}

// readTimer is key's inverse.
func readTimer(key []byte) (t timer, err error) {
	const without, with = 8 + len(t.id), 8 + len(t.id) + len(t.place)
	if len(key) != without && len(key) != with {
		return t, fmt.Errorf("load timers: a key of %d bytes", len(key))
	}
	t.due = int64(binary.BigEndian.Uint64(key))
	copy(t.id[:], key[8:])
	copy(t.place[:], key[without:])
	return t, nil
}

func newTimers(rows storage.Rows, partition, most int) *timers {
	return &timers{
		rows: rows, partition: partition, most: most, hours: map[int64]bool{}, places: map[ident.ID]*queued{}, withdrawn: map[ident.ID]bool{},
		wake: make(chan struct{}, 1), alarm: time.NewTimer(time.Hour),
	}
}

func (t *timers) directory() string { return fmt.Sprintf("timer-hours/%d", t.partition) }

func (t *timers) group(due int64) string {
	return fmt.Sprintf("timer/%d/%d", t.partition, due/hourMillis)
}

// load reads what is there. The owner before, if there was one, adds no more.
func (t *timers) load(ctx context.Context) error {
	var found []timer
	for hour, err := range t.rows.ScanRows(ctx, t.directory(), nil, nil, false) {
		if err != nil {
			return fmt.Errorf("load timers: %w", err)
		}
		at := int64(binary.BigEndian.Uint64(hour.Key))
		empty := true
		for row, err := range t.rows.ScanRows(ctx, t.group(at*hourMillis), nil, nil, false) {
			if err != nil {
				return fmt.Errorf("load timers: %w", err)
			}
			empty = false
			one, err := readTimer(row.Key)
			if err != nil {
				return err
			}
			found = append(found, one)
		}
		if empty {
			if err := t.rows.ChangeRows(ctx, t.directory(), nil, [][]byte{hour.Key}, 0); err != nil {
				return fmt.Errorf("load timers: %w", err)
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range found {
		t.add(one)
	}
	return nil
}

// keep stores a message that goes on at a time. It may be called beside the owner.
func (t *timers) keep(ctx context.Context, o rule.Onward) error {
	due := timer{o.At.UnixMilli(), ident.New(), o.Place} // copies of one message may wait for the same moment
	before, there := t.placed(o.Place)
	sooner := there && due.due < before.due
	if there && o.Yields && !sooner {
		return nil
	}
	value, err := proto.Marshal(onwardMessage(o))
	if err != nil {
		return fmt.Errorf("encode a rule message: %w", err)
	}
	switch {
	case there && !sooner:
		if err := t.store(ctx, before, value); err != nil {
			return err
		}
		if after, still := t.placed(o.Place); still && after == before {
			return nil
		}
	case !there && t.full():
		return errTooMany
	}
	if err := t.store(ctx, due, value); err != nil {
		return err
	}
	t.enter(due)
	if there {
		// It gave way to a sooner one, or it rang while it was replaced, perhaps with what it was before, and its row may have come
		// back after that was done with.
		return t.remove(ctx, []timer{before})
	}
	return nil
}

// placed returns which timer has a place, until it rings.
func (t *timers) placed(place ident.ID) (one timer, there bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q := t.places[place]; q != nil {
		return q.timer, true
	}
	return timer{}, false
}

func (t *timers) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) >= t.most
}

// store puts a message into its place in the store, instead of what is there.
func (t *timers) store(ctx context.Context, due timer, value []byte) error {
	t.mu.Lock()
	known := t.hours[due.due/hourMillis]
	t.mu.Unlock()
	if !known {
		hour := binary.BigEndian.AppendUint64(nil, uint64(due.due/hourMillis))
		if err := t.rows.ChangeRows(ctx, t.directory(), []storage.Row{{Key: hour}}, nil, 0); err != nil {
			return fmt.Errorf("store a timer: %w", err)
		}
	}
	if err := t.rows.ChangeRows(ctx, t.group(due.due), []storage.Row{{Key: due.key(), Body: value}}, nil, 0); err != nil {
		return fmt.Errorf("store a timer: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.hours) >= hoursKnown {
		clear(t.hours)
	}
	t.hours[due.due/hourMillis] = true
	return nil
}

// enter has a timer ring, instead of the one that has its place.
func (t *timers) enter(due timer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before := t.places[due.place]; before != nil {
		heap.Remove(&t.queue, before.at)
		delete(t.places, due.place)
	}
	t.add(due)
	if t.queue[0].timer == due {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// add queues a timer. A place that was given anew when the process ended may have two, of which the earlier has it.
func (t *timers) add(due timer) {
	one := &queued{timer: due}
	heap.Push(&t.queue, one)
	if due.place.IsZero() {
		return
	}
	if other := t.places[due.place]; other == nil || due.due < other.due {
		t.places[due.place] = one
	}
}

// withdraw has a timer that is entered not ring.
func (t *timers) withdraw(due timer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.withdrawn[due.id] = true
}

// take returns what is due, at most limit.
func (t *timers) take(now time.Time, limit int) []timer {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []timer
	for len(t.queue) > 0 && t.queue[0].due <= now.UnixMilli() && len(due) < limit {
		first := heap.Pop(&t.queue).(*queued)
		one := first.timer
		if t.places[one.place] == first {
			delete(t.places, one.place)
		}
		if t.withdrawn[one.id] {
			delete(t.withdrawn, one.id)
			continue
		}
		due = append(due, one)
	}
	return due
}

// due is ready when the earliest may be due.
func (t *timers) due(now time.Time) <-chan time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return nil
	}
	t.alarm.Reset(time.UnixMilli(t.queue[0].due).Sub(now))
	return t.alarm.C
}

// read returns a timer's message.
func (t *timers) read(ctx context.Context, one timer) ([]byte, error) {
	key := one.key()
	for row, err := range t.rows.ScanRows(ctx, t.group(one.due), key, append(key, 0), false) {
		if err != nil {
			return nil, fmt.Errorf("read a timer: %w", err)
		}
		return row.Body, nil
	}
	return nil, storage.ErrNotFound
}

// remove forgets timers whose messages have their fate.
func (t *timers) remove(ctx context.Context, done []timer) error {
	byGroup := map[string][][]byte{}
	for _, one := range done {
		byGroup[t.group(one.due)] = append(byGroup[t.group(one.due)], one.key())
	}
	for group, keys := range byGroup {
		if err := t.rows.ChangeRows(ctx, group, nil, keys, 0); err != nil {
			return fmt.Errorf("remove timers: %w", err)
		}
	}
	return nil
}

// timersAtOnce bounds the due messages in hand: no window holds them, as it does those of a queue.
const timersAtOnce = 1000

// timerDue is ready when a message may be due and there is room for it.
func (p *partition) timerDue() <-chan time.Time {
	if p.ringing >= timersAtOnce {
		return nil
	}
	return p.timers.due(p.d.Now())
}

// buryTimer makes a dead letter of a timer that is no message.
func (p *partition) buryTimer(one timer, value []byte, err error) {
	p.tally.taken++
	l := p.letterOfRecord(&bus.Record{Message: ruleRecord("", one.id, value)}, -1)
	l.Error, l.Where, l.Attempts = err.Error(), "timer", 1
	p.letters = append(p.letters, letter{l, func() { p.rung = append(p.rung, one) }})
}

// ring starts the messages whose time has come.
func (p *partition) ring(ctx context.Context) error {
	if err := p.requests.tick(ctx); err != nil { // what is told here first rings no more
		return err
	}
	for _, one := range p.timers.take(p.d.Now(), timersAtOnce-p.ringing) {
		var value []byte
		err := p.steady(ctx, "read a timer", func() (err error) {
			value, err = p.timers.read(ctx, one)
			return err
		})
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		f := &rule.Flight{Owner: &place{record: -1, timer: one}}
		if err := readRuleMessage(value, f); err != nil {
			p.buryTimer(one, value, err)
			continue
		}
		p.ringing++
		if err := p.begin(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// forgetTimers removes the timers whose messages have their fate.
func (p *partition) forgetTimers(ctx context.Context) error {
	done := p.rung
	p.rung = nil
	return p.steady(ctx, "remove timers", func() error { return p.timers.remove(ctx, done) })
}
