package entity

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// PageRequest asks for one page of a list.
type PageRequest struct {
	Page, Size int    // Page counts from 0; Size is at least 1
	Search     string // part of a name, whatever its case; "" finds all
	Sort       string // property; "" is id
	Descending bool
}

// Page is one page and how many there are on all pages.
type Page[T any] struct {
	Items []T
	Total int
}

// row is what lists keep of an entity: what they filter, sort and search by.
type row struct {
	id, customer, profile ident.ID
	created               int64
	name, label, extra    string
	kind                  string // few different ones: a device's type, a user's authority
	firmware, software    bool   // a device has one of its own
}

// rowBytes is a row without its texts; kinds are shared between rows.
const rowBytes = 3*16 + 8 + 4*16 + 8

// listingBytes is a list without its rows: a tenant that has nothing costs something too.
const listingBytes = 256

func (r row) bytes() int { return rowBytes + len(r.name) + len(r.label) + len(r.extra) }

// order maps the sort properties of a kind to comparisons.
type order map[string]func(a, b row) int

func byID(a, b row) int      { return bytes.Compare(a.id[:], b.id[:]) }
func byCreated(a, b row) int { return cmp.Compare(a.created, b.created) }
func byName(a, b row) int    { return strings.Compare(a.name, b.name) }
func byLabel(a, b row) int   { return strings.Compare(a.label, b.label) }
func byExtra(a, b row) int   { return strings.Compare(a.extra, b.extra) }
func byKind(a, b row) int    { return strings.Compare(a.kind, b.kind) }

// index keeps the rows of the tenants and kinds whose lists were asked for lately, each list
// whole or not at all, together within a bound. A list is only ever changed by reading an entity
// again under the list's lock, after the change was stored: so whoever comes last has seen the latest.
type index struct {
	store storage.Entities
	rows  map[ident.EntityType]func(storage.Document) (row, error)
	limit int
	life  time.Duration
	now   func() time.Time

	mu    sync.Mutex // never held while a listing's lock is waited for
	lists map[listKey]*listing
	used  *list.List // of *listing, the latest in front
	bytes int
}

type listKey struct {
	tenant ident.TenantID
	kind   ident.EntityType
}

// listing is one tenant's rows of one kind, in order of id.
type listing struct {
	key     listKey
	element *list.Element // guarded by index.mu; nil once evicted
	size    int           // what index.bytes counts for it; guarded by index.mu

	mu      sync.RWMutex
	loaded  bool
	expires time.Time // of what was loaded
	rows    []row
	bytes   int
}

// errTooMany: a tenant's rows alone are more than the index may hold.
var errTooMany = errors.New("too many entities to list from memory")

func newIndex(store storage.Entities, o Options, rows map[ident.EntityType]func(storage.Document) (row, error)) *index {
	return &index{
		store: store, rows: rows, limit: o.IndexBytes, life: o.IndexLife, now: o.Now,
		lists: map[listKey]*listing{}, used: list.New(),
	}
}

// refresh reads one entity again, if its list is kept.
func (x *index) refresh(ctx context.Context, tenant ident.TenantID, e ident.EntityID) error {
	x.mu.Lock()
	l := x.lists[listKey{tenant, e.Type}]
	x.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		return nil
	}
	d, err := x.store.Get(ctx, tenant, e)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		l.remove(e.ID)
	case err != nil:
		// A list that may be wrong is worse than none: it is loaded again when asked for.
		x.forget(l)
		return nil
	default:
		r, err := x.rows[e.Type](d)
		if err != nil {
			return err
		}
		l.put(r)
	}
	x.account(l)
	return nil
}

func (l *listing) put(r row) {
	r.kind = unique.Make(r.kind).Value()
	at, found := slices.BinarySearchFunc(l.rows, r, byID)
	if found {
		l.bytes += r.bytes() - l.rows[at].bytes()
		l.rows[at] = r
		return
	}
	l.rows = slices.Insert(l.rows, at, r)
	l.bytes += r.bytes()
}

func (l *listing) remove(id ident.ID) {
	if at, found := slices.BinarySearchFunc(l.rows, row{id: id}, byID); found {
		l.bytes -= l.rows[at].bytes()
		l.rows = slices.Delete(l.rows, at, at+1)
	}
}

// account takes over l's size, l.mu being held, and evicts the lists not used for longest.
func (x *index) account(l *listing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if l.element == nil {
		return
	}
	x.bytes += l.bytes - l.size
	l.size = l.bytes
	for x.bytes > x.limit && x.used.Len() > 0 {
		x.evict(x.used.Back().Value.(*listing))
	}
}

// clear drops all lists.
func (x *index) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.used.Len() > 0 {
		x.evict(x.used.Back().Value.(*listing))
	}
}

func (x *index) forget(l *listing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.evict(l)
}

func (x *index) evict(l *listing) {
	if l.element == nil {
		return
	}
	x.used.Remove(l.element)
	l.element = nil
	delete(x.lists, l.key)
	x.bytes -= l.size
}

// listing returns the list of key as the latest used one, making an empty one when there is none.
func (x *index) listing(key listKey) *listing {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.lists[key]
	if l == nil {
		l = &listing{key: key}
		l.element = x.used.PushFront(l)
		x.lists[key] = l
		return l
	}
	x.used.MoveToFront(l.element)
	return l
}

// load fills a list that is empty or too old. Changes wait for it: they are read again after.
func (x *index) load(ctx context.Context, l *listing) error {
	now := x.now()
	l.mu.RLock()
	fresh := l.loaded && now.Before(l.expires)
	l.mu.RUnlock()
	if fresh {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded && now.Before(l.expires) {
		return nil
	}
	next := listing{bytes: listingBytes} // what is shown stays whole until this is
	for d, err := range x.store.List(ctx, l.key.tenant, l.key.kind, ident.ID{}) {
		if err != nil {
			return err
		}
		r, err := x.rows[l.key.kind](d)
		if err != nil {
			return err
		}
		next.put(r)
		if next.bytes > x.limit {
			l.loaded, l.rows = false, nil
			x.forget(l)
			return errTooMany
		}
	}
	l.rows, l.bytes = next.rows, next.bytes
	l.loaded, l.expires = true, now.Add(x.life)
	x.account(l)
	return nil
}

// page returns the ids on a page and how many rows there are in all.
func (x *index) page(ctx context.Context, tenant ident.TenantID, kind ident.EntityType, keep func(row) bool, page PageRequest, o order) ([]ident.ID, int, error) {
	if page.Size < 1 || page.Page < 0 {
		return nil, 0, fault.New(fault.Invalid, "Incorrect page link: pageSize must be positive, page must not be negative")
	}
	property := page.Sort
	if property == "" {
		property = "id"
	}
	compare := o[property]
	if compare == nil {
		return nil, 0, fault.New(fault.Invalid, "Unsupported sort property '"+page.Sort+"'")
	}
	wanted := filter(kind, keep, page.Search)
	l := x.listing(listKey{tenant, kind})
	if err := x.load(ctx, l); errors.Is(err, errTooMany) {
		if property != "id" || page.Descending {
			return nil, 0, fault.New(fault.Invalid, "There are too many entities to sort by '"+property+"': only ascending id is available")
		}
		return x.scan(ctx, tenant, kind, wanted, page)
	} else if err != nil {
		return nil, 0, err
	}
	ids, total := l.page(wanted, page, compare, property == "id")
	return ids, total, nil
}

// count returns how many there are of a kind, and whether their list is kept: if not, counting reads the store through.
func (x *index) count(ctx context.Context, key listKey) (n int, kept bool, err error) {
	l := x.listing(key)
	err = x.load(ctx, l)
	if errors.Is(err, errTooMany) {
		for _, err := range x.store.List(ctx, key.tenant, key.kind, ident.ID{}) {
			if err != nil {
				return 0, false, err
			}
			n++
		}
		return n, false, nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.rows), true, err
}

// page picks a page out of the rows wanted.
func (l *listing) page(wanted func(row) bool, page PageRequest, compare func(a, b row) int, sorted bool) ([]ident.ID, int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var found []int32
	for i := range l.rows {
		if wanted(l.rows[i]) {
			found = append(found, int32(i))
		}
	}
	switch {
	case sorted && page.Descending:
		slices.Reverse(found)
	case !sorted:
		slices.SortStableFunc(found, func(a, b int32) int {
			if page.Descending {
				a, b = b, a
			}
			return compare(l.rows[a], l.rows[b])
		})
	}
	start := min(page.offset(), len(found))
	end := start + min(page.Size, len(found)-start)
	ids := make([]ident.ID, 0, end-start)
	for _, i := range found[start:end] {
		ids = append(ids, l.rows[i].id)
	}
	return ids, len(found)
}

// offset is how many rows come before the page; a product that overflows is past every end.
func (p PageRequest) offset() int {
	if p.Page > math.MaxInt/p.Size {
		return math.MaxInt
	}
	return p.Page * p.Size
}

// scan is page for a list too long to keep: it reads the store through, keeping only the page.
func (x *index) scan(ctx context.Context, tenant ident.TenantID, kind ident.EntityType, wanted func(row) bool, page PageRequest) ([]ident.ID, int, error) {
	var ids []ident.ID
	total, start := 0, page.offset()
	for d, err := range x.store.List(ctx, tenant, kind, ident.ID{}) {
		if err != nil {
			return nil, 0, err
		}
		r, err := x.rows[kind](d)
		if err != nil {
			return nil, 0, err
		}
		if !wanted(r) {
			continue
		}
		if total >= start && len(ids) < page.Size {
			ids = append(ids, r.id)
		}
		total++
	}
	return ids, total, nil
}

// filter returns what is true of the rows a list is to show. Search looks into names; devices and assets are
// found by their labels as well, packages by their versions, assets by their types.
func filter(kind ident.EntityType, keep func(row) bool, search string) func(row) bool {
	search = strings.ToLower(search)
	return func(r row) bool {
		if keep != nil && !keep(r) {
			return false
		}
		return search == "" || strings.Contains(strings.ToLower(r.name), search) ||
			(kind == ident.Device || kind == ident.Asset || kind == ident.OTAPackage) && strings.Contains(strings.ToLower(r.label), search) ||
			kind == ident.Asset && strings.Contains(strings.ToLower(r.kind), search)
	}
}
