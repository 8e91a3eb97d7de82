package cassandra

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// statements by table; the order of their markers is that of bind. Updates, not inserts: a row is its one
// cell, and no marker of the row itself outlives it.
var (
	statements = [...]string{
		tableHistory:    "UPDATE history USING TIMESTAMP ? SET v = ? WHERE entity = ? AND day = ? AND name = ? AND at = ?",
		tableDays:       "UPDATE days USING TIMESTAMP ? SET v = 0 WHERE entity = ? AND day = ? AND until = ?",
		tableLatest:     "UPDATE latest USING TIMESTAMP ? SET v = ? WHERE entity = ? AND name = ? AND era = ?",
		tableAttributes: "UPDATE attributes USING TIMESTAMP ? SET v = ? WHERE entity = ? AND scope = ? AND name = ?",
	}
	passing = [...]string{ // of rows that live for a time
		tableHistory: "UPDATE history USING TTL ? AND TIMESTAMP ? SET v = ? WHERE entity = ? AND day = ? AND name = ? AND at = ?",
		tableDays:    "UPDATE days USING TTL ? AND TIMESTAMP ? SET v = 0 WHERE entity = ? AND day = ? AND until = ?",
	}
)

// markers is the most any of the statements has.
const markers = 7

// chunk is some rows of a group: one request.
type chunk struct{ group, from, to int }

// cut divides the groups into requests.
func (w *writer) cut(maxRows, maxBytes int) {
	for g := range w.groups {
		rows := w.groups[g].rows
		from, bytes := 0, 0
		for i := range rows {
			size := rows[i].size()
			if i > from && (i-from >= maxRows || bytes+size > maxBytes) {
				w.chunks = append(w.chunks, chunk{g, from, i})
				from, bytes = i, 0
			}
			bytes += size
		}
		if from < len(rows) {
			w.chunks = append(w.chunks, chunk{g, from, len(rows)})
		}
	}
}

// block is the memory of one request; it is used again by later ones.
type block struct {
	data    []byte
	bound   []bound
	args    []any
	entries []gocql.BatchEntry
}

// bind adds an argument: the bytes of data from start on.
func (b *block) bind(start int) {
	b.bound = append(b.bound, bound(b.data[start:len(b.data):len(b.data)]))
	b.args = append(b.args, &b.bound[len(b.bound)-1])
}

func (b *block) long(n int64) {
	start := len(b.data)
	b.data = binary.BigEndian.AppendUint64(b.data, uint64(n))
	b.bind(start)
}

func (b *block) int(n int32) {
	start := len(b.data)
	b.data = binary.BigEndian.AppendUint32(b.data, uint32(n))
	b.bind(start)
}

func (b *block) text(s string) {
	start := len(b.data)
	b.data = append(b.data, s...)
	b.bind(start)
}

// reserve makes room for n rows of bytes bytes, so that what is bound stays where it is.
func (b *block) reserve(n, bytes int) {
	b.data, b.bound, b.args, b.entries = b.data[:0], b.bound[:0], b.args[:0], b.entries[:0]
	if cap(b.data) < bytes {
		b.data = make([]byte, 0, bytes)
	}
	if cap(b.bound) < n*markers {
		b.bound, b.args = make([]bound, 0, n*markers), make([]any, 0, n*markers)
		b.entries = make([]gocql.BatchEntry, 0, n)
	}
}

// keptBlock is how large a block may be to be kept.
const keptBlock = 256 << 10

// send sends one chunk.
func (s *Store) send(ctx context.Context, w *writer, c chunk) error {
	g := &w.groups[c.group]
	rows := g.rows[c.from:c.to]
	b := s.blocks.Get().(*block)
	defer func() {
		if cap(b.data) <= keptBlock {
			s.blocks.Put(b)
		}
	}()
	bytes := 0
	for i := range rows {
		bytes += rows[i].size()
	}
	b.reserve(len(rows), bytes)
	eras := w.eras[g.entity]
	for i := range rows {
		b.add(g, &rows[i], eras)
	}
	err := s.request(ctx, writing, func(ctx context.Context) error {
		batch := s.session().Batch(gocql.UnloggedBatch).Consistency(s.consistency).RetryPolicy(again{s.figures})
		batch.Entries = b.entries
		return batch.ExecContext(ctx)
	})
	if err != nil {
		return fmt.Errorf("%v: %w", g.entity, err)
	}
	return nil
}

// add binds one row.
func (b *block) add(g *group, r *row, eras entityEras) {
	first := len(b.args)
	statement := statements[g.table]
	if r.life > 0 {
		statement = passing[g.table]
		b.int(r.life)
	}
	if g.table == tableLatest {
		b.long(timestampOf(r.time))
	} else {
		b.long(r.stamp)
	}
	if g.table != tableDays {
		start := len(b.data)
		switch g.table {
		case tableHistory:
			b.data = appendValue(b.data, r.value, r.expiry)
		case tableLatest:
			b.data = appendLatest(b.data, r.time, r.stamp, r.value)
		case tableAttributes:
			b.data = appendAttribute(b.data, r.time, r.value)
		}
		b.bind(start)
	}
	start := len(b.data)
	b.data = appendEntity(b.data, g.entity)
	b.bind(start)
	switch g.table {
	case tableHistory:
		_, rest := split(r.time)
		b.long(g.day)
		b.text(r.name)
		b.int(rest)
	case tableDays:
		b.long(r.day)
		b.long(r.time)
	case tableLatest:
		b.text(r.name)
		b.long(eras.of(r.name))
	case tableAttributes:
		start := len(b.data)
		b.data = append(b.data, byte(r.scope))
		b.bind(start)
		b.text(r.name)
	}
	b.entries = append(b.entries, gocql.BatchEntry{Stmt: statement, Args: b.args[first:len(b.args):len(b.args)], Idempotent: true})
}

// sideBySide runs n pieces of work, no more at once than requests may be under way, and returns
// the first error, which ends the others.
func (s *Store) sideBySide(outer context.Context, n int, run func(context.Context, int) error) error {
	if n == 1 {
		return run(outer, 0)
	}
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	var next atomic.Int64
	var once sync.Once
	var first error
	var group sync.WaitGroup
	for range min(n, cap(s.writes)) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := run(ctx, i); err != nil {
					once.Do(func() { first = err })
					cancel()
				}
			}
		})
	}
	group.Wait()
	if first == nil {
		return outer.Err() // it may have ended before anything began
	}
	return first
}

// dayName tells the directory's cells of a batch apart by their day.
func dayName(day int64) string { return strconv.FormatInt(day, 36) }
