package transporttest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Bus is a bus.Bus that does what the test tells it: it holds uplinks back, fails them, is full.
// Calls are answered by Core. Everything else is acknowledged at once, from a goroutine of its
// own as the real one does. Safe for concurrent use.
type Bus struct {
	core       *Core
	announcing sync.Mutex // one event after the other

	mu        sync.Mutex
	holding   bool
	held      []func(error)
	failing   error
	full      bool
	room      chan struct{}
	accepted  []bus.Message // uplinks taken on
	reports   []bus.Message // messages to topics.Core
	onMessage func(bus.Record)
	delivered map[string]bool // sessions that were sent something
	changed   chan struct{}   // closed and replaced whenever something happens
	work      chan func()
	tails     []func(bus.Record)
	deafSince time.Time    // zero: events are heard
	unheard   []bus.Record // since then
	life      [16]byte     // of tb.events
	announced []bus.Record // all of tb.events
	closed    bool
	worker    sync.WaitGroup
}

var _ bus.Bus = (*Bus)(nil)

// NewBus returns a Bus whose calls core answers. Close it.
func NewBus(core *Core) *Bus {
	b := &Bus{core: core, room: closedChannel(), changed: make(chan struct{}), work: make(chan func(), 1<<16)}
	b.worker.Go(func() {
		for f := range b.work {
			f()
		}
	})
	return b
}

// Close ends the Bus; what it holds is failed with bus.ErrClosed.
func (b *Bus) Close() {
	b.Release(bus.ErrClosed)
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.work)
	}
	b.mu.Unlock()
	b.worker.Wait()
}

// Hold keeps back the acknowledgement of every uplink from now on.
func (b *Bus) Hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = true
}

// Release ends Hold: what was held is done with err (nil: the bus has it).
func (b *Bus) Release(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = false
	for _, done := range b.held {
		b.later(func() { done(err) })
	}
	b.held = nil
}

// Fail makes every uplink from now on end with err; nil ends that.
func (b *Bus) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = err
}

// SetFull makes Publish refuse uplinks with bus.ErrFull, or take them again.
func (b *Bus) SetFull(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if full == b.full {
		return
	}
	b.full = full
	if full {
		b.room = make(chan struct{})
	} else {
		close(b.room)
	}
}

// Held returns how many uplinks wait for Release.
func (b *Bus) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// Uplinks returns the uplinks taken on so far, in order, decoded.
func (b *Bus) Uplinks() ([]telemetry.Uplink, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]telemetry.Uplink, 0, len(b.accepted))
	for _, m := range b.accepted {
		if isRuleMessage(m.Headers) {
			continue
		}
		var u telemetry.Uplink
		if err := telemetry.ParseUplink(m.Value, &u); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

func isRuleMessage(headers []bus.Header) bool {
	return slices.ContainsFunc(headers, func(h bus.Header) bool {
		return h.Key == topics.KindHeader && string(h.Value) == topics.KindRuleMessage
	})
}

// Reports returns what the core was told of sessions and activity so far, in order.
func (b *Bus) Reports() ([]*sluicepb.CoreMessage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*sluicepb.CoreMessage, len(b.reports))
	for i, m := range b.reports {
		out[i] = &sluicepb.CoreMessage{}
		if err := proto.Unmarshal(m.Value, out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Await waits until condition holds; it is looked at whenever something was published.
func (b *Bus) Await(ctx context.Context, condition func() bool) error {
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Deliver hands the transport a downlink.
func (b *Bus) Deliver(downlink *sluicepb.DeviceDownlink) error {
	value, err := proto.Marshal(downlink)
	if err != nil {
		return err
	}
	b.mu.Lock()
	handle := b.onMessage
	if b.delivered == nil {
		b.delivered = map[string]bool{}
	}
	b.delivered[string(downlink.GetSessionId())] = true
	b.mu.Unlock()
	if handle == nil {
		return errors.New("nobody reads the inbox")
	}
	handle(bus.Record{Message: bus.Message{Topic: b.ReplyTopic(), Value: value}})
	return nil
}

// Announce hands an event to all who tail tb.events, and returns when they are done with it.
func (b *Bus) Announce(event *sluicepb.EntityEvent) error {
	value, err := proto.Marshal(event)
	if err != nil {
		return err
	}
	b.announcing.Lock()
	defer b.announcing.Unlock()
	b.mu.Lock()
	tails := b.tails
	r := bus.Record{Message: bus.Message{Topic: topics.Events, Key: event.GetEntity().GetId(), Value: value}, Offset: int64(len(b.announced))}
	b.announced = append(b.announced, r)
	if !b.deafSince.IsZero() {
		b.unheard, tails = append(b.unheard, r), nil
	}
	b.mu.Unlock()
	for _, handle := range tails {
		handle(r)
	}
	return nil
}

// Renew makes tb.events anew: it is empty and its offsets begin again.
func (b *Bus) Renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announced = nil
	b.life[0]++
}

// Past implements bus.Historian.
func (b *Bus) Past(_ context.Context, _ string, handle func(bus.Record)) (bus.Past, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.announced {
		handle(r)
	}
	return bus.Past{Life: b.life, End: int64(len(b.announced))}, nil
}

// Accepted returns the messages with uplinks that were taken on so far.
func (b *Bus) Accepted() []bus.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]bus.Message(nil), b.accepted...)
}

// Publish implements bus.Publisher.
func (b *Bus) Publish(m bus.Message, done func(error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return bus.ErrClosed
	}
	uplink := topics.Uplinks(m.Topic)
	if uplink && b.full {
		return bus.ErrFull
	}
	kept := m
	kept.Key, kept.Value = append([]byte(nil), m.Key...), append([]byte(nil), m.Value...)
	switch {
	case !uplink:
		b.reports = append(b.reports, kept)
		b.later(func() { done(nil) })
	case b.failing != nil:
		err := b.failing
		b.later(func() { done(err) })
	default:
		b.accepted = append(b.accepted, kept)
		if b.holding {
			b.held = append(b.held, done)
		} else {
			b.later(func() { done(nil) })
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// later runs f in the Bus's goroutine. Only under the lock.
func (b *Bus) later(f func()) { b.work <- f }

// Room implements bus.Publisher.
func (b *Bus) Room(string, []byte) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

// Call implements bus.Caller.
func (b *Bus) Call(ctx context.Context, topic string, _, request []byte, budget time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	answer, err := b.core.answer(ctx, topic, request)
	if ctx.Err() != nil {
		return nil, bus.ErrBudget
	}
	return answer, err
}

// Answer implements bus.Answerer; transports answer nobody.
func (b *Bus) Answer(bus.Record, []byte) {}

// Expired implements bus.Answerer.
func (b *Bus) Expired(bus.Record) bool { return false }

// Tail implements bus.Tailer.
func (b *Bus) Tail(ctx context.Context, _ string, ready chan<- struct{}, handle func(bus.Record)) error {
	b.mu.Lock()
	b.tails = append(b.tails, handle)
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	if ready != nil {
		close(ready)
	}
	<-ctx.Done()
	return ctx.Err()
}

// followed reports whether anybody follows tb.events.
func (b *Bus) followed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.tails) > 0
}

// Silence implements bus.Tailer.
func (b *Bus) Silence(string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deafSince.IsZero() {
		return 0
	}
	return time.Since(b.deafSince)
}

// Deafen keeps events back from whoever tails, as an unreachable broker does, until the returned
// function is called: then they are handed over.
func (b *Bus) Deafen() (hear func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deafSince = time.Now()
	return func() {
		b.mu.Lock()
		kept, tails := b.unheard, b.tails
		b.unheard, b.deafSince = nil, time.Time{}
		b.mu.Unlock()
		b.announcing.Lock()
		defer b.announcing.Unlock()
		for _, r := range kept {
			for _, handle := range tails {
				handle(r)
			}
		}
	}
}

// ReplyTopic implements bus.Inbox.
func (b *Bus) ReplyTopic() string { return topics.TransportResponses + "test" }

// OnMessage implements bus.Inbox.
func (b *Bus) OnMessage(handle func(bus.Record)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onMessage = handle
}

// OnKind implements bus.Inbox; nobody sends a transport anything of a kind.
func (b *Bus) OnKind(string, func(bus.Record)) {}

// Partitions implements bus.Partitions.
func (b *Bus) Partitions(context.Context, string) (int, error) { return 1, nil }

// OpenReader implements bus.Partitions; transports own no partitions.
func (b *Bus) OpenReader(context.Context, string, int) (bus.Reader, error) {
	return nil, errors.New("transports own no partitions")
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
