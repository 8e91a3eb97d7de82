package event

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Reader finds events. Safe for concurrent use.
type Reader struct {
	rows     storage.Rows
	settings Settings
	now      func() time.Time
}

// NewReader returns a reader of the events in rows; the zero Settings mean DefaultSettings, now nil time.Now.
func NewReader(rows storage.Rows, s Settings, now func() time.Time) *Reader {
	if s == (Settings{}) {
		s = DefaultSettings()
	}
	if now == nil {
		now = time.Now
	}
	return &Reader{rows, s, now}
}

// Query asks for a page of an entity's events of one type.
type Query struct {
	Tenant      ident.TenantID
	Entity      ident.EntityID
	Type        string
	Start, End  int64 // ms, both included; End 0 means now
	Filter      Filter
	Page, Size  int
	OldestFirst bool
}

// Page is the events found, and how many there are on all pages.
type Page struct {
	Items []Stored
	Total int
}

// Find returns a page. At most Settings.Scan events are looked through: with more, Total counts what was.
func (r *Reader) Find(ctx context.Context, q Query) (Page, error) {
	page := Page{Items: []Stored{}}
	seen := 0
	skip := q.Size * min(q.Page, r.settings.Scan)
	err := r.each(ctx, q, func(s Stored) bool {
		if seen++; seen > r.settings.Scan {
			return false
		}
		if !q.Filter.passes(s) {
			return true
		}
		if page.Total >= skip && len(page.Items) < q.Size {
			page.Items = append(page.Items, s)
		}
		page.Total++
		return true
	})
	return page, err
}

// Last returns the newest event that passes the filter; found is false when there is none.
func (r *Reader) Last(ctx context.Context, tenant ident.TenantID, e ident.EntityID, kind string, f Filter) (last Stored, found bool, err error) {
	seen := 0
	err = r.each(ctx, Query{Tenant: tenant, Entity: e, Type: kind}, func(s Stored) bool {
		if f.passes(s) {
			last, found = s, true
			return false
		}
		seen++
		return seen < r.settings.Scan
	})
	return last, found, err
}

// each yields events within q's time, in its order, until f has enough.
func (r *Reader) each(ctx context.Context, q Query, f func(Stored) bool) error {
	first, last, begin, end := r.days(q)
	for i := range last - first + 1 {
		day := last - i
		if q.OldestFirst {
			day = first + i
		}
		from, to := key(begin, ident.ID{}), key(end+1, ident.ID{})
		for row, err := range r.rows.ScanRows(ctx, group(q.Tenant, q.Entity, q.Type, day), from, to, !q.OldestFirst) {
			if err != nil {
				return fmt.Errorf("read events: %w", err)
			}
			s, err := read(q, row)
			if err != nil {
				return err
			}
			if !f(s) {
				return nil
			}
		}
	}
	return nil
}

// days returns which days can hold events of q, and its first and last millisecond: what is older than events live is not shown.
func (r *Reader) days(q Query) (first, last, begin, end int64) {
	now := r.now().UnixMilli()
	// An event's time may be a little ahead of this node's.
	newest := now + dayMillis
	if end = q.End; end <= 0 || end > newest {
		end = newest
	}
	begin = max(q.Start, now-r.settings.TTL.Milliseconds()+1, 0)
	return dayOf(begin), dayOf(end), begin, end
}

func read(q Query, row storage.Row) (Stored, error) {
	if len(row.Key) != 8+16 {
		return Stored{}, fmt.Errorf("malformed key %x of an event", row.Key)
	}
	return Stored{
		Event: Event{Tenant: q.Tenant, Entity: q.Entity, Type: q.Type, Time: int64(binary.BigEndian.Uint64(row.Key)), Body: row.Body},
		ID:    ident.ID(row.Key[8:]),
	}, nil
}

// Clear removes the events within q's time that pass its filter; without either, all of them.
func (r *Reader) Clear(ctx context.Context, q Query) error {
	first, last, _, _ := r.days(q)
	if q.Start <= 0 && q.End <= 0 && q.Filter.empty() {
		for day := first; day <= last; day++ {
			if err := r.rows.DeleteRows(ctx, group(q.Tenant, q.Entity, q.Type, day)); err != nil {
				return fmt.Errorf("clear events: %w", err)
			}
		}
		return nil
	}
	gone := map[string][][]byte{}
	n := 0
	flush := func() error {
		for in, keys := range gone {
			if err := r.rows.ChangeRows(ctx, in, nil, keys, 0); err != nil {
				return fmt.Errorf("clear events: %w", err)
			}
		}
		clear(gone)
		n = 0
		return nil
	}
	var failed error
	err := r.each(ctx, q, func(s Stored) bool {
		if !q.Filter.passes(s) {
			return true
		}
		in := group(q.Tenant, q.Entity, q.Type, dayOf(s.Time))
		gone[in] = append(gone[in], key(s.Time, s.ID))
		if n++; n == together {
			failed = flush()
		}
		return failed == nil
	})
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	return flush()
}
