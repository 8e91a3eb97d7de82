package cassandra

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// maxNameBytes bounds a key: 255 characters of four bytes and some.
const maxNameBytes = 1024

// tables rows of values go to.
const (
	tableHistory = iota
	tableDays
	tableLatest
	tableAttributes
)

// partition names the rows that can go in one request.
type partition struct {
	table  uint8
	entity ident.EntityID
	day    int64 // of history
}

// cell is one place a batch may write more than once.
type cell struct {
	partition
	scope storage.Scope
	time  int64 // of history and the directory
	name  string
}

// row is what a batch has for a cell.
type row struct {
	name   string
	scope  storage.Scope
	time   int64 // ms; of the directory: until when
	day    int64 // of the directory
	stamp  int64
	expiry int64 // ms; 0: none
	life   int32 // s that Cassandra keeps it; 0: for good
	value  telemetry.Value
}

// size is about how many bytes of a request the row takes.
func (r *row) size() int { return 96 + len(r.name) + len(r.value.Text()) }

// group is the rows of one partition, ready to be sent.
type group struct {
	partition
	rows []row
}

// writer is what one Write works with; it is used again by later ones.
type writer struct {
	of     map[partition]int // → groups
	groups []group
	cells  map[cell]int // → row of its group
	chunks []chunk
	blind  []ident.EntityID // entities whose eras have to be read
	eras   map[ident.EntityID]entityEras
}

// keptRows is how large a writer may have grown to be kept for the next Write.
const keptRows = 1 << 14

func newWriter() *writer {
	return &writer{of: map[partition]int{}, cells: map[cell]int{}, eras: map[ident.EntityID]entityEras{}}
}

// reset lets go of the caller's strings.
func (w *writer) reset() {
	clear(w.of)
	clear(w.cells)
	clear(w.eras)
	for i := range w.groups {
		clear(w.groups[i].rows)
		w.groups[i].rows = w.groups[i].rows[:0]
	}
	w.groups, w.chunks, w.blind = w.groups[:0], w.chunks[:0], w.blind[:0]
}

// Write stores the batch: the rows of each partition together, partitions side by side. Which of two writes
// of a cell stays is decided by their timestamps where they meet; nothing is read first, but once
// what deletes there were of an entity's latest values.
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
	w := s.writers.Get().(*writer)
	defer func() {
		if len(w.cells) <= keptRows {
			w.reset()
			s.writers.Put(w)
		}
	}()
	now := s.options.Now().UnixMilli()
	for i := range batch {
		s.add(w, &batch[i], now)
	}
	if err := s.learnEras(ctx, w); err != nil {
		return fmt.Errorf("write values: %w", err)
	}
	w.cut(s.options.BatchRows, s.options.BatchBytes)
	err := s.sideBySide(ctx, len(w.chunks), func(ctx context.Context, i int) error { return s.send(ctx, w, w.chunks[i]) })
	if err != nil {
		return fmt.Errorf("write values: %w", err)
	}
	for i := range w.groups {
		if g := &w.groups[i]; g.table == tableDays {
			for j := range g.rows {
				s.days.recorded(entityDay{g.entity, g.rows[j].day, g.rows[j].time})
			}
		}
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
	case w.Stamp == math.MinInt64 || w.Stamp == overAll:
		return fmt.Errorf("%w: stamp %d", storage.ErrInvalid, w.Stamp)
	}
	for i := range w.Values {
		v := &w.Values[i]
		if len(v.Key) == 0 || len(v.Key) > maxNameBytes {
			return fmt.Errorf("%w: key of %d bytes", storage.ErrInvalid, len(v.Key))
		}
		if v.Kind == telemetry.None || byte(v.Kind) > maxKind {
			return fmt.Errorf("%w: key %q has no value", storage.ErrInvalid, v.Key)
		}
		if len(v.Text()) > s.options.ValueBytes {
			return fmt.Errorf("%w: key %q has %d bytes, more than %d", storage.ErrInvalid, v.Key, len(v.Text()), s.options.ValueBytes)
		}
	}
	return nil
}

// add sorts the rows of one write into their partitions.
func (s *Store) add(w *writer, from *storage.Write, now int64) {
	if from.Scope != storage.Timeseries {
		w.addAttributes(from)
		return
	}
	if !from.SkipHistory && len(from.Values) > 0 {
		s.addHistory(w, from, now)
	}
	if !from.SkipLatest {
		s.addLatest(w, from)
	}
}

func (s *Store) addHistory(w *writer, from *storage.Write, now int64) {
	day, _ := split(from.Time)
	expiry, until := int64(0), int64(never)
	if from.TTL > 0 {
		if expiry = now + max(from.TTL.Milliseconds(), 1); expiry < 0 {
			expiry = 0 // beyond all time: kept
		} else {
			until = roundUp(expiry)
		}
	}
	if mark := (entityDay{from.Entity, day, until}); !s.days.known(mark) {
		g := w.group(partition{table: tableDays, entity: from.Entity})
		r := row{day: day, time: until, stamp: from.Stamp}
		if until != never {
			r.life = life(until - now)
		}
		w.put(g, cell{partition: w.groups[g].partition, time: until, name: dayName(day)}, r)
	}
	g := w.group(partition{table: tableHistory, entity: from.Entity, day: day})
	for i := range from.Values {
		v := &from.Values[i]
		r := row{name: v.Key, time: from.Time, stamp: from.Stamp, expiry: expiry, value: v.Value}
		if expiry != 0 {
			r.life = life(expiry - now)
		}
		w.put(g, cell{partition: w.groups[g].partition, time: from.Time, name: v.Key}, r)
	}
}

// maxLife is the longest time Cassandra keeps a row for a time: 20 years. What lives longer is kept, and only hidden later.
const maxLife = 20 * 365 * 24 * time.Hour

// lifeMargin keeps a row beyond its expiry, which readers know exactly, whatever Cassandra's clock says.
const lifeMargin = time.Minute

func life(millis int64) int32 {
	of := int64(lifeMargin/time.Second) + (millis+999)/1000
	if of > int64(maxLife/time.Second) {
		return 0
	}
	return int32(of)
}

func (s *Store) addLatest(w *writer, from *storage.Write) {
	if len(from.Values) == 0 {
		return
	}
	if _, ok := w.eras[from.Entity]; !ok {
		is, known := s.eras.known(from.Entity)
		if !known {
			w.blind = append(w.blind, from.Entity)
		}
		w.eras[from.Entity] = is
	}
	g := w.group(partition{table: tableLatest, entity: from.Entity})
	for i := range from.Values {
		v := &from.Values[i]
		w.put(g, cell{partition: w.groups[g].partition, name: v.Key}, row{name: v.Key, time: from.Time, stamp: from.Stamp, value: v.Value})
	}
}

func (w *writer) addAttributes(from *storage.Write) {
	if len(from.Values) == 0 {
		return
	}
	g := w.group(partition{table: tableAttributes, entity: from.Entity})
	for i := range from.Values {
		v := &from.Values[i]
		w.put(g, cell{partition: w.groups[g].partition, scope: from.Scope, name: v.Key},
			row{name: v.Key, scope: from.Scope, time: from.Time, stamp: from.Stamp, value: v.Value})
	}
}

// group returns the number of p's group.
func (w *writer) group(p partition) int {
	at, ok := w.of[p]
	if ok {
		return at
	}
	at = len(w.groups)
	if at < cap(w.groups) {
		w.groups = w.groups[:at+1] // with the memory of its rows
		w.groups[at].partition = p
	} else {
		w.groups = append(w.groups, group{partition: p})
	}
	w.of[p] = at
	return at
}

// put notes r for a cell, unless what the batch has for it already is to stay.
func (w *writer) put(g int, c cell, r row) {
	rows := &w.groups[g].rows
	at, ok := w.cells[c]
	if !ok {
		w.cells[c] = len(*rows)
		*rows = append(*rows, r)
		return
	}
	p := &(*rows)[at]
	if c.table == tableLatest && r.time != p.time {
		if r.time > p.time {
			*p = r
		}
	} else if r.stamp >= p.stamp {
		*p = r
	}
}

// learnEras reads the eras of those entities the store knows nothing of.
func (s *Store) learnEras(ctx context.Context, w *writer) error {
	if len(w.blind) == 0 {
		return nil
	}
	found := make([]entityEras, len(w.blind))
	err := s.sideBySide(ctx, len(w.blind), func(ctx context.Context, i int) (err error) {
		found[i], err = s.readEras(ctx, w.blind[i])
		return err
	})
	if err != nil {
		return err
	}
	for i, e := range w.blind {
		w.eras[e] = found[i]
	}
	return nil
}
