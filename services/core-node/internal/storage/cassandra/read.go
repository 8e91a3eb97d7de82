package cassandra

import (
	"context"
	"fmt"
	"iter"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Pages begin small, since nobody knows how large the values are, and grow to what the values found so far
// suggest for Settings.ReadBytes.
const (
	firstPage = 32
	growth    = 8
	maxPage   = 5000
)

// askEvery is how many points are handed out between two looks at whether anyone still waits for them.
const askEvery = 64

// daysPage is how many days of the directory are read at once.
const daysPage = 1000

const (
	daysForwards  = "SELECT day, until FROM days WHERE entity = ? AND day >= ? AND day <= ? ORDER BY day ASC, until ASC"
	daysBackwards = "SELECT day, until FROM days WHERE entity = ? AND day >= ? AND day <= ? ORDER BY day DESC, until DESC"
	rowsForwards  = "SELECT at, v FROM history WHERE entity = ? AND day = ? AND name = ? AND at >= ? AND at <= ? ORDER BY name ASC, at ASC"
	rowsBackwards = "SELECT at, v FROM history WHERE entity = ? AND day = ? AND name = ? AND at >= ? AND at <= ? ORDER BY name DESC, at DESC"
)

// Range yields one series' points. It walks the directory, since devices' times are arbitrary, and
// within each day the series' rows, page by page.
func (s *Store) Range(ctx context.Context, e ident.EntityID, key string, within storage.Span, newestFirst bool) iter.Seq2[storage.Point, error] {
	return func(yield func(storage.Point, error) bool) {
		if err := s.enter(ctx); err != nil {
			yield(storage.Point{}, fmt.Errorf("read %q of %v: %w", key, e, err))
			return
		}
		defer s.leave()
		if within.Start >= within.End {
			return
		}
		c := scan{
			store: s, entity: appendEntity(nil, e), name: []byte(key), within: within, backwards: newestFirst,
			now: s.options.Now().UnixMilli(), size: pageSize{cap: s.options.ReadBytes},
			yield: func(p storage.Point) bool { return yield(p, nil) },
		}
		if err := c.run(ctx); err != nil {
			yield(storage.Point{}, fmt.Errorf("read %q of %v: %w", key, e, err))
		}
	}
}

// scan is one Range under way.
type scan struct {
	store     *Store
	entity    []byte
	name      []byte
	within    storage.Span
	backwards bool
	now       int64
	size      pageSize
	yield     func(storage.Point) bool

	read int
	done bool // nobody wants more
}

func (c *scan) run(ctx context.Context) error {
	statement := daysForwards
	if c.backwards {
		statement = daysBackwards
	}
	first, _ := split(c.within.Start)
	last, _ := split(c.within.End - 1)
	before, begun := int64(0), false // a day has a row for each time until when some of it lives
	p := pages{store: c.store, statement: statement, args: []any{c.entity, first, last}}
	for !c.done {
		var found []int64
		more, err := p.next(ctx, daysPage, func(scan func(...any) bool) bool {
			var day, until int64
			if !scan(&day, &until) {
				return false
			}
			if until > c.now && (!begun || day != before) {
				before, begun = day, true
				found = append(found, day)
			}
			return true
		})
		if err != nil {
			return err
		}
		for _, day := range found {
			if err := c.day(ctx, day); err != nil || c.done {
				return err
			}
		}
		if !more {
			return nil
		}
	}
	return nil
}

// found is a point with what decides whether it is seen.
type found struct {
	storage.Point
	expiry int64
}

func (c *scan) day(ctx context.Context, day int64) error {
	statement := rowsForwards
	if c.backwards {
		statement = rowsBackwards
	}
	from, to := int32(0), int32(dayMillis-1)
	if first, rest := split(c.within.Start); first == day {
		from = rest
	}
	if last, rest := split(c.within.End - 1); last == day {
		to = rest
	}
	p := pages{store: c.store, statement: statement, args: []any{c.entity, day, c.name, from, to}}
	var page []found
	for {
		page = page[:0]
		var broken error
		more, err := p.next(ctx, c.size.rows(), func(scan func(...any) bool) bool {
			var at int32
			var v []byte
			if !scan(&at, &v) {
				return false
			}
			var f found
			if f.Value, f.expiry, broken = readValue(v); broken != nil {
				return false
			}
			f.Time = join(day, at)
			c.size.saw(len(v))
			page = append(page, f)
			return true
		})
		if err != nil {
			return err
		}
		if broken != nil {
			return broken
		}
		if err := c.give(ctx, page); err != nil || c.done || !more {
			return err
		}
	}
}

func (c *scan) give(ctx context.Context, page []found) error {
	for i := range page {
		if c.read++; c.read%askEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if f := &page[i]; f.expiry != 0 && f.expiry <= c.now {
			continue
		}
		if !c.yield(page[i].Point) {
			c.done = true
			return nil
		}
	}
	return nil
}

// pageSize says how many rows to ask for.
type pageSize struct {
	cap         int // bytes
	seen, bytes int
	last        int
}

func (p *pageSize) saw(bytes int) {
	p.seen++
	p.bytes += bytes + 32
}

func (p *pageSize) rows() int {
	switch {
	case p.last == 0:
		p.last = firstPage
	case p.seen > 0:
		p.last = min(p.last*growth, maxPage, max(p.cap/(p.bytes/p.seen), 1))
	}
	return p.last
}

// pages reads a long answer part by part.
type pages struct {
	store     *Store
	statement string
	args      []any
	state     []byte
}

// next reads the next page, calls row for its rows, and reports whether there is another.
func (p *pages) next(ctx context.Context, size int, row func(scan func(...any) bool) bool) (more bool, err error) {
	err = p.store.request(ctx, reading, func(ctx context.Context) error {
		// Prefetch is off: the pages are ours to ask for, and to bound.
		it := p.store.query(p.statement, p.args...).PageSize(size).PageState(p.state).Prefetch(0).IterContext(ctx)
		p.state = it.PageState()
		for range it.NumRows() {
			if !row(it.Scan) {
				break
			}
		}
		return it.Close()
	})
	return len(p.state) > 0, err
}
