package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// maxNameBytes bounds a key: 255 characters of four bytes and some.
const maxNameBytes = 1024

// writer is what one Write works with; it is used again by later ones.
type writer struct {
	latest  map[cell]int // → pending
	pending []latestRow
	marks   map[entityDay]int64
	key     []byte
}

// cell is one latest value's place.
type cell struct {
	entity ident.EntityID
	name   string
}

// latestRow is the latest value of a cell that the batch has had so far.
type latestRow struct {
	cell
	time, stamp int64
	value       telemetry.Value
}

// keptRows is how large a writer may have grown to be kept for the next Write.
const keptRows = 1 << 14

func newWriter() *writer {
	return &writer{latest: map[cell]int{}, marks: map[entityDay]int64{}}
}

// reset lets go of the caller's strings.
func (w *writer) reset() {
	clear(w.latest)
	clear(w.marks)
	clear(w.pending)
	w.pending = w.pending[:0]
}

// Write stores the batch in one synced commit. It reads nothing: which of two writes of a cell
// stays is decided where they meet (merger), and latest values are written once per batch and series.
func (s *Store) Write(ctx context.Context, batch []storage.Write) error {
	if err := s.enter(ctx); err != nil {
		return fmt.Errorf("write values: %w", err)
	}
	defer s.leave()
	for i := range batch {
		if err := s.check(&batch[i]); err != nil {
			return fmt.Errorf("write values of %v: %w", batch[i].Entity, err)
		}
	}
	if err := s.room(); err != nil {
		return fmt.Errorf("write values: %w", err)
	}
	w := s.writers.Get().(*writer)
	defer func() {
		if len(w.pending) <= keptRows {
			w.reset()
			s.writers.Put(w)
		}
	}()
	s.sweeping.RLock()
	defer s.sweeping.RUnlock()
	b := s.db.NewBatch()
	defer b.Close()
	now := s.options.Now().UnixMilli()
	for i := range batch {
		s.add(b, w, &batch[i], now)
	}
	w.flushLatest(b)
	w.flushMarks(b)
	if err := b.Commit(pebble.Sync); err != nil {
		return refused("write values", err)
	}
	if len(w.marks) > 0 {
		s.days.recorded(w.marks)
	}
	return nil
}

// check finds what could never be stored.
func (s *Store) check(w *storage.Write) error {
	switch {
	case w.Entity.Type < 0 || w.Entity.Type > math.MaxUint8:
		return fmt.Errorf("%w: entity type %d", storage.ErrInvalid, w.Entity.Type)
	case w.Scope > storage.RuleNode:
		return fmt.Errorf("%w: scope %d", storage.ErrInvalid, w.Scope)
	case w.TTL < 0:
		return fmt.Errorf("%w: time to live %v", storage.ErrInvalid, w.TTL)
	}
	for i := range w.Values {
		v := &w.Values[i]
		if len(v.Key) == 0 || len(v.Key) > maxNameBytes {
			return fmt.Errorf("%w: key of %d bytes", storage.ErrInvalid, len(v.Key))
		}
		if v.Kind == telemetry.None || byte(v.Kind) > maxKind {
			return fmt.Errorf("%w: key %q has no value", storage.ErrInvalid, v.Key)
		}
		if len(v.Text()) > s.options.MaxValueBytes {
			return fmt.Errorf("%w: key %q has %d bytes, more than %d", storage.ErrInvalid, v.Key, len(v.Text()), s.options.MaxValueBytes)
		}
	}
	return nil
}

func (s *Store) add(b *pebble.Batch, w *writer, from *storage.Write, now int64) {
	if from.Scope != storage.Timeseries {
		w.addAttributes(b, from)
		return
	}
	if !from.SkipHistory && len(from.Values) > 0 {
		s.addHistory(b, w, from, now)
	}
	if !from.SkipLatest {
		w.addLatest(from)
	}
}

func (s *Store) addHistory(b *pebble.Batch, w *writer, from *storage.Write, now int64) {
	expiry := int64(0)
	of := entityDay{entity: from.Entity}
	d, rest := split(from.Time)
	of.day = d
	mark := int64(never)
	if from.TTL > 0 {
		if expiry = now + max(from.TTL.Milliseconds(), 1); expiry < 0 {
			expiry = 0 // beyond all time: kept
		} else {
			mark = roundUp(expiry)
		}
	}
	if mark > w.marks[of] && !s.days.known(of, mark) {
		w.marks[of] = mark
	}
	w.key = appendDay(appendEntity(w.key[:0], tableHistory, from.Entity), d)
	prefix := len(w.key)
	size := 1
	if expiry != 0 {
		size += expiryBytes
	}
	for i := range from.Values {
		v := &from.Values[i]
		w.key = appendName(w.key[:prefix], v.Key)
		w.key = binary.BigEndian.AppendUint32(w.key, rest)
		op := b.MergeDeferred(len(w.key), stampBytes+size+payloadBytes(v.Value))
		copy(op.Key, w.key)
		binary.BigEndian.PutUint64(op.Value, sortable(from.Stamp))
		putValue(op.Value[stampBytes:], v.Value, expiry)
		_ = op.Finish() // it fails in no batch but an indexed one
	}
}

func (w *writer) addAttributes(b *pebble.Batch, from *storage.Write) {
	for i := range from.Values {
		v := &from.Values[i]
		w.key = appendAttribute(w.key[:0], from.Entity, from.Scope, v.Key)
		op := b.MergeDeferred(len(w.key), stampBytes+rankBytes+1+payloadBytes(v.Value))
		copy(op.Key, w.key)
		binary.BigEndian.PutUint64(op.Value, sortable(from.Stamp))
		binary.BigEndian.PutUint64(op.Value[stampBytes:], sortable(from.Time))
		putValue(op.Value[stampBytes+rankBytes:], v.Value, 0)
		_ = op.Finish()
	}
}

func (w *writer) addLatest(from *storage.Write) {
	for i := range from.Values {
		v := &from.Values[i]
		row := latestRow{cell{from.Entity, v.Key}, from.Time, from.Stamp, v.Value}
		at, ok := w.latest[row.cell]
		if !ok {
			w.latest[row.cell] = len(w.pending)
			w.pending = append(w.pending, row)
			continue
		}
		if p := &w.pending[at]; row.time > p.time || row.time == p.time && row.stamp >= p.stamp {
			*p = row
		}
	}
}

func (w *writer) flushLatest(b *pebble.Batch) {
	for i := range w.pending {
		row := &w.pending[i]
		w.key = appendLatest(w.key[:0], row.entity, row.name)
		op := b.MergeDeferred(len(w.key), rankBytes+stampBytes+1+payloadBytes(row.value))
		copy(op.Key, w.key)
		binary.BigEndian.PutUint64(op.Value, sortable(row.time))
		binary.BigEndian.PutUint64(op.Value[rankBytes:], sortable(row.stamp))
		putValue(op.Value[rankBytes+stampBytes:], row.value, 0)
		_ = op.Finish()
	}
}

func (w *writer) flushMarks(b *pebble.Batch) {
	for of, expiry := range w.marks {
		w.key = appendDay(appendEntity(w.key[:0], tableDays, of.entity), of.day)
		_ = b.Merge(w.key, binary.BigEndian.AppendUint64(nil, uint64(expiry)), nil)
		if expiry != never {
			w.key = appendExpiry(w.key[:0], expiry, of.entity, of.day)
			_ = b.Set(w.key, nil, nil)
		}
	}
}
