package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Save is one write, and who is told of it.
type Save struct {
	storage.Write
	Tenant ident.TenantID
	// ReceivedAt is when the platform first had the values, µs; 0 means now. It bounds the write's stamp.
	ReceivedAt int64
	// OnlyChanged leaves out attributes that already have the value.
	OnlyChanged bool
	// Silent keeps it from those who watch the entity.
	Silent bool
	// LiveOnly tells those who watch, and stores nothing.
	LiveOnly bool
	// Notify tells the device's sessions of shared attributes.
	Notify bool
}

// Refusal is a save the store does not take however often it is tried.
type Refusal struct {
	Index int // as returned by Add
	Err   error
}

// Audience is who watches entities.
type Audience interface {
	live.Publisher
	Watched(ident.EntityID) bool
}

// Saver gathers the saves of one partition and stores them together. It is the partition's one
// writer: it gives out the stamps, which only grow. Not safe for concurrent use.
type Saver struct {
	store    storage.Telemetry
	audience Audience
	now      func() time.Time

	stamp  int64
	saves  []Save
	bytes  int
	onward []storage.Write // what of saves goes to the store
	origin []int           // onward[i] comes from saves[origin[i]]
	newest map[ident.EntityID]int
	spared []int // saves whose latest values a later one replaces
	cells  map[cell]values.Value
	// touched are the entities with attributes to be stored.
	touched map[ident.EntityID]struct{}
	// compare: some save asks for OnlyChanged.
	compare bool
}

type cell struct {
	entity ident.EntityID
	scope  storage.Scope
	key    string
}

// NewSaver returns a Saver whose stamps are larger than stamp.
func NewSaver(store storage.Telemetry, audience Audience, now func() time.Time, stamp int64) *Saver {
	return &Saver{
		store: store, audience: audience, now: now, stamp: stamp,
		newest: map[ident.EntityID]int{}, cells: map[cell]values.Value{},
		touched: map[ident.EntityID]struct{}{},
	}
}

// Stamp is the last stamp given out, µs.
func (s *Saver) Stamp() int64 { return s.stamp }

// Len is how many saves wait for Flush; Bytes is about how large their values are.
func (s *Saver) Len() int { return len(s.saves) }

// Bytes is about how many bytes the values that wait for Flush take.
func (s *Saver) Bytes() int { return s.bytes }

// Add takes save on for the next Flush and returns its index there. Its values are kept until then.
func (s *Saver) Add(save Save) int {
	now := s.now().UnixMicro()
	received := save.ReceivedAt
	if received == 0 {
		received = now
	}
	s.stamp = max(s.stamp+1, min(received, now+time.Second.Microseconds()))
	save.Stamp = s.stamp
	s.compare = s.compare || save.OnlyChanged
	for i := range save.Values {
		s.bytes += len(save.Values[i].Key) + len(save.Values[i].Text()) + 8
	}
	if save.Scope != storage.Timeseries && !save.LiveOnly {
		s.touched[save.Entity] = struct{}{}
	}
	s.saves = append(s.saves, save)
	return len(s.saves) - 1
}

// Touches reports whether attributes of e wait for Flush.
func (s *Saver) Touches(e ident.EntityID) bool {
	_, ok := s.touched[e]
	return ok
}

// Flush stores all that was added, tells those who watch, calls stored for each save of attributes the store took (its
// Values narrowed to what was written), and starts anew. Refusals are in order of index. An error is the
// platform's fault: everything added is still there, and Flush can be called again.
func (s *Saver) Flush(ctx context.Context, stored func(*Save)) ([]Refusal, error) {
	if len(s.saves) == 0 {
		return nil, nil
	}
	if err := s.narrow(ctx); err != nil {
		return nil, fmt.Errorf("compare attributes: %w", err)
	}
	s.coalesceLatest()
	s.onward, s.origin = s.onward[:0], s.origin[:0]
	for i := range s.saves {
		if len(s.saves[i].Values) > 0 && !s.saves[i].LiveOnly {
			s.onward = append(s.onward, s.saves[i].Write)
			s.origin = append(s.origin, i)
		}
	}
	refused, err := s.write(ctx, s.onward, s.origin, nil)
	if err == nil && len(refused) > 0 {
		err = s.storeSpared(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("store values: %w", err)
	}
	s.tell(refused, stored)
	s.reset()
	return refused, nil
}

// write stores batch; when the store refuses it, by halves, until the guilty are alone.
func (s *Saver) write(ctx context.Context, batch []storage.Write, origin []int, refused []Refusal) ([]Refusal, error) {
	if len(batch) == 0 {
		return refused, nil
	}
	err := s.store.Write(ctx, batch)
	switch {
	case err == nil:
		return refused, nil
	case !errors.Is(err, storage.ErrInvalid):
		return nil, err
	case len(batch) == 1:
		return append(refused, Refusal{origin[0], err}), nil
	}
	half := len(batch) / 2
	if refused, err = s.write(ctx, batch[:half], origin[:half], refused); err != nil {
		return nil, err
	}
	return s.write(ctx, batch[half:], origin[half:], refused)
}

// narrow takes the attributes that already have their value out of saves that ask for it. What
// earlier saves of this batch write counts as stored.
func (s *Saver) narrow(ctx context.Context) error {
	if !s.compare {
		return nil
	}
	clear(s.cells)
	for i := range s.saves {
		save := &s.saves[i]
		if save.Scope == storage.Timeseries || save.LiveOnly {
			continue
		}
		if save.OnlyChanged {
			changed, err := s.changed(ctx, save)
			if err != nil {
				return err
			}
			save.Values, save.OnlyChanged = changed, false
		}
		for _, kv := range save.Values {
			s.cells[cell{save.Entity, save.Scope, kv.Key}] = kv.Value
		}
	}
	s.compare = false
	return nil
}

func (s *Saver) changed(ctx context.Context, save *Save) ([]values.KeyValue, error) {
	keys := make([]string, len(save.Values))
	for i, kv := range save.Values {
		keys[i] = kv.Key
	}
	entries, err := s.store.Attributes(ctx, save.Entity, save.Scope, keys)
	if err != nil {
		return nil, err
	}
	known := make(map[string]values.Value, len(entries))
	for _, e := range entries {
		known[e.Key] = e.Value
	}
	// A new slice: the message's own stays as it is.
	var changed []values.KeyValue
	for _, kv := range save.Values {
		is, ok := s.cells[cell{save.Entity, save.Scope, kv.Key}]
		if !ok {
			is = known[kv.Key]
		}
		if is != kv.Value {
			changed = append(changed, kv)
		}
	}
	return changed, nil
}

// coalesceLatest spares the store the latest values that a later save of the batch replaces. What an
// earlier attempt at the same batch spared stays so.
func (s *Saver) coalesceLatest() {
	if len(s.saves) < 2 {
		return
	}
	clear(s.newest)
	for i := range s.saves {
		save := &s.saves[i]
		if save.Scope != storage.Timeseries || save.SkipLatest || save.LiveOnly {
			continue
		}
		if before, ok := s.newest[save.Entity]; ok {
			if earlier := &s.saves[before]; earlier.Time <= save.Time && sameKeys(earlier.Values, save.Values) {
				earlier.SkipLatest = true
				s.spared = append(s.spared, before)
			}
		}
		s.newest[save.Entity] = i
	}
}

// storeSpared stores the latest values that were left to a later save, which may be one the store
// refused. The store keeps the newest whatever the order.
func (s *Saver) storeSpared(ctx context.Context) error {
	s.onward = s.onward[:0]
	for _, i := range s.spared {
		w := s.saves[i].Write
		w.SkipLatest, w.SkipHistory = false, true
		s.onward = append(s.onward, w)
	}
	_, err := s.write(ctx, s.onward, s.spared, nil)
	return err
}

func sameKeys(a, b []values.KeyValue) bool {
	return slices.EqualFunc(a, b, func(x, y values.KeyValue) bool { return x.Key == y.Key })
}

// tell lets everyone know what is stored now.
func (s *Saver) tell(refused []Refusal, stored func(*Save)) {
	var updates []live.Update
	for i := range s.saves {
		if len(refused) > 0 && refused[0].Index == i {
			refused = refused[1:]
			continue
		}
		save := &s.saves[i]
		if len(save.Values) == 0 {
			continue
		}
		if !save.Silent && s.audience.Watched(save.Entity) {
			updates = append(updates, live.Update{
				Entity: save.Entity, Scope: save.Scope, Time: save.Time,
				Values: slices.Clone(save.Values), // the message's slice is used again for the next pack
			})
		}
		if save.Scope != storage.Timeseries && !save.LiveOnly {
			stored(save)
		}
	}
	if len(updates) > 0 {
		s.audience.Publish(updates)
	}
}

func (s *Saver) reset() {
	clear(s.saves)
	clear(s.onward)
	clear(s.touched)
	s.saves, s.spared, s.bytes = s.saves[:0], s.spared[:0], 0
}
