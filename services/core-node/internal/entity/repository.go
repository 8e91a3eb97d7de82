package entity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// stored is what a kind of entity tells the repository of itself. T's JSON is its stored form.
type stored[T any] interface {
	*T
	// document returns where and under which claims it is stored; Body is the repository's.
	document() storage.Document
	// row returns what lists keep of it.
	row() row
	// setVersion takes over the version of the document it was read from or written as.
	setVersion(int64)
}

// repository keeps one kind of entity, typed.
type repository[T any, P stored[T]] struct {
	all  *Registry
	kind ident.EntityType
}

func newRepository[T any, P stored[T]](all *Registry, kind ident.EntityType) repository[T, P] {
	return repository[T, P]{all: all, kind: kind}
}

func (r repository[T, P]) id(id ident.ID) ident.EntityID { return ident.EntityID{Type: r.kind, ID: id} }

func (r repository[T, P]) encode(t P) (storage.Document, error) {
	d := t.document()
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // what people gave as JSON is kept as they wrote it
	if err := encoder.Encode(t); err != nil {
		return d, fault.Wrap(fault.Invalid, "encode "+d.ID.String(), err)
	}
	d.Body = bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	return d, nil
}

func (r repository[T, P]) decode(d storage.Document) (T, error) {
	var t T
	if err := json.Unmarshal(d.Body, &t); err != nil {
		return t, fmt.Errorf("decode %v: %w", d.ID, err)
	}
	P(&t).setVersion(d.Version)
	return t, nil
}

func (r repository[T, P]) row(d storage.Document) (row, error) {
	t, err := r.decode(d)
	if err != nil {
		return row{}, err
	}
	return P(&t).row(), nil
}

func (r repository[T, P]) create(ctx context.Context, t T) (T, error) {
	var none T
	d, err := r.encode(&t)
	if err != nil {
		return none, err
	}
	if err := r.all.store.Create(ctx, d); err != nil {
		return none, unavailable(err)
	}
	d.Version = 1
	P(&t).setVersion(1)
	return t, r.all.changed(ctx, d, &sluicepb.EntityEvent{})
}

func (r repository[T, P]) get(ctx context.Context, tenant ident.TenantID, id ident.ID) (T, error) {
	d, err := r.all.store.Get(ctx, tenant, r.id(id))
	if err != nil {
		var none T
		return none, notFound(r.id(id), err)
	}
	return r.decode(d)
}

// exists is get without decoding: the store is asked all the same.
func (r repository[T, P]) exists(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	if _, err := r.all.store.Get(ctx, tenant, r.id(id)); err != nil {
		return notFound(r.id(id), err)
	}
	return nil
}

func (r repository[T, P]) byClaim(ctx context.Context, claim string) (T, error) {
	d, err := r.all.store.ByClaim(ctx, claim)
	if err == nil && d.ID.Type == r.kind {
		return r.decode(d)
	}
	var none T
	if err == nil || errors.Is(err, storage.ErrNotFound) {
		return none, fault.Wrap(fault.NotFound, "Requested item wasn't found!", storage.ErrNotFound)
	}
	return none, unavailable(err)
}

// errUnchanged, returned by a change, leaves the entity as it is.
var errUnchanged = errors.New("unchanged")

// attempts bounds how often an unconditional update is tried again after somebody else's.
const attempts = 16

// update applies change to the stored entity. version 0 applies it to whatever is there, trying
// again when somebody else was first; any other must be the stored one.
func (r repository[T, P]) update(ctx context.Context, tenant ident.TenantID, id ident.ID, version int64, change func(*T) error) (T, error) {
	return r.announceUpdate(ctx, tenant, id, change, func(t *T) bool { return version == 0 || P(t).document().Version == version }, nil)
}

// announceUpdate is update with a condition of its own, and with more to say in the event.
func (r repository[T, P]) announceUpdate(ctx context.Context, tenant ident.TenantID, id ident.ID, change func(*T) error,
	current func(*T) bool, event func(before, after *T) *sluicepb.EntityEvent,
) (T, error) {
	var none T
	for range attempts {
		read, err := r.all.store.Get(ctx, tenant, r.id(id))
		if err != nil {
			return none, notFound(r.id(id), err)
		}
		before, err := r.decode(read)
		if err != nil {
			return none, err
		}
		if !current(&before) {
			return none, conflict(storage.ErrVersion)
		}
		after := before
		if err := change(&after); errors.Is(err, errUnchanged) {
			return before, nil
		} else if err != nil {
			return none, err
		}
		d, err := r.encode(&after)
		if err != nil {
			return none, err
		}
		d.Version = read.Version
		d.Version, err = r.all.store.Update(ctx, d)
		if errors.Is(err, storage.ErrVersion) {
			continue
		}
		if err != nil {
			return none, notFound(r.id(id), err)
		}
		P(&after).setVersion(d.Version)
		announcement := &sluicepb.EntityEvent{}
		if event != nil {
			announcement = event(&before, &after)
		}
		return after, r.all.changed(ctx, d, announcement)
	}
	return none, conflict(storage.ErrVersion)
}

func conflict(err error) error {
	return fault.Wrap(fault.Conflict, "Entity was changed by someone else meanwhile!", err)
}

func (r repository[T, P]) delete(ctx context.Context, tenant ident.TenantID, id ident.ID) error {
	return r.announceDelete(ctx, tenant, id, &sluicepb.EntityEvent{})
}

func (r repository[T, P]) announceDelete(ctx context.Context, tenant ident.TenantID, id ident.ID, event *sluicepb.EntityEvent) error {
	// First, so that a delete that was cut off can be asked for again.
	for _, a := range r.all.options.Attached {
		if err := a.EntityDeleted(ctx, tenant, r.id(id)); err != nil {
			return unavailable(fmt.Errorf("delete what belongs to %v: %w", r.id(id), err))
		}
	}
	if err := r.all.store.Delete(ctx, tenant, r.id(id), 0); err != nil {
		return notFound(r.id(id), err)
	}
	if r.all.options.Values != nil {
		if err := r.all.options.Values.DeleteEntity(ctx, r.id(id)); err != nil {
			return unavailable(fmt.Errorf("delete values of %v: %w", r.id(id), err))
		}
	}
	event.Deleted = true
	return r.all.changed(ctx, storage.Document{Tenant: tenant, ID: r.id(id)}, event)
}

func (r repository[T, P]) deleteAll(ctx context.Context, tenant ident.TenantID) error {
	return r.each(ctx, tenant, func(t T) error { return ignoreMissing(r.delete(ctx, tenant, P(&t).document().ID.ID)) })
}

// each calls f for every entity of the tenant, until f fails.
func (r repository[T, P]) each(ctx context.Context, tenant ident.TenantID, f func(T) error) error {
	for d, err := range r.all.store.List(ctx, tenant, r.kind, ident.ID{}) {
		if err != nil {
			return unavailable(err)
		}
		t, err := r.decode(d)
		if err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
	}
	return nil
}

// list reads one page: which entities are on it the index says, what they are the store.
func (r repository[T, P]) list(ctx context.Context, tenant ident.TenantID, keep func(row) bool, page PageRequest, o order) (Page[T], error) {
	ids, total, err := r.all.index.page(ctx, tenant, r.kind, keep, page, o)
	if err != nil {
		return Page[T]{}, unavailable(err)
	}
	result := Page[T]{Items: make([]T, 0, len(ids)), Total: total}
	for _, id := range ids {
		t, err := r.get(ctx, tenant, id)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return Page[T]{}, err
		}
		result.Items = append(result.Items, t)
	}
	return result, nil
}

// ignoreMissing makes deleting what is gone already a success.
func ignoreMissing(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
