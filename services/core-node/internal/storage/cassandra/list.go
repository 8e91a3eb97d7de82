package cassandra

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Get reads a document.
func (s *Store) Get(ctx context.Context, tenant ident.TenantID, id ident.EntityID) (d storage.Document, err error) {
	err = s.remove(ctx, "read", id, func(ctx context.Context) error {
		is, err := s.document(ctx, s.consistency, place(tenant, id))
		d = is.Document
		d.Tenant, d.ID = tenant, id
		return err
	})
	if err != nil {
		return storage.Document{}, err
	}
	return d, nil
}

// ByClaim reads the document that holds a claim: the one the claim names, if it lists it.
func (s *Store) ByClaim(ctx context.Context, claim string) (storage.Document, error) {
	d, err := s.byClaim(ctx, claim)
	if err != nil {
		return storage.Document{}, fmt.Errorf("read by claim: %w", err)
	}
	return d, nil
}

func (s *Store) byClaim(ctx context.Context, claim string) (storage.Document, error) {
	if err := s.enter(ctx); err != nil {
		return storage.Document{}, err
	}
	defer s.leave()
	by, err := s.holder(ctx, s.consistency, claimKey(claim))
	if err != nil {
		return storage.Document{}, err
	}
	is, err := s.document(ctx, s.consistency, by.document)
	if err != nil {
		return storage.Document{}, err
	}
	if !slices.Contains(is.Claims, claim) {
		return storage.Document{}, storage.ErrNotFound
	}
	d := is.Document
	copy(d.Tenant.ID[:], by.document[0].([]byte))
	d.ID.Type = ident.EntityType(by.document[1].(int16))
	copy(d.ID.ID[:], by.document[2].([]byte))
	return d, nil
}

// The list names a tenant's documents of one type in order of id; it holds nothing else, so that it
// need not change with them. Documents are read at their own places, listAtOnce side by side.
const (
	listPage      = 256
	listStatement = "SELECT id, writetime(v) FROM list WHERE tenant = ? AND kind = ? AND id > ?"
	// staleAfter is when a row without a document is what a kill left of a create or delete.
	staleAfter = time.Minute
)

// listedID is one row of the list.
type listedID struct {
	id    []byte
	since int64 // µs
	is    stored
	err   error
}

// List yields documents in order of id.
func (s *Store) List(ctx context.Context, tenant ident.TenantID, kind ident.EntityType, from ident.ID) iter.Seq2[storage.Document, error] {
	return func(yield func(storage.Document, error) bool) {
		if err := s.enter(ctx); err != nil {
			yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
			return
		}
		defer s.leave()
		p := pages{store: s, statement: listStatement, args: []any{tenant.ID[:], int16(kind), from[:]}}
		for more := true; more; {
			var page []listedID
			var err error
			if page, more, err = s.listPage(ctx, &p); err != nil {
				yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
				return
			}
			for i := range page {
				d, err := s.inList(ctx, tenant, kind, &page[i])
				if errors.Is(err, storage.ErrNotFound) {
					continue
				}
				if err != nil {
					yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
					return
				}
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

// listPage reads the next page of the list, and its documents side by side.
func (s *Store) listPage(ctx context.Context, p *pages) (page []listedID, more bool, err error) {
	more, err = p.next(ctx, listPage, func(scan func(...any) bool) bool {
		var row listedID
		if !scan(&row.id, &row.since) {
			return false
		}
		page = append(page, row)
		return true
	})
	if err != nil {
		return nil, false, err
	}
	err = s.sideBySide(ctx, len(page), func(ctx context.Context, i int) error {
		page[i].is, page[i].err = s.document(ctx, s.consistency, []any{p.args[0], p.args[1], page[i].id})
		if errors.Is(page[i].err, storage.ErrNotFound) {
			return nil
		}
		return page[i].err
	})
	return page, more, err
}

func (s *Store) inList(ctx context.Context, tenant ident.TenantID, kind ident.EntityType, row *listedID) (storage.Document, error) {
	if err := ctx.Err(); err != nil {
		return storage.Document{}, err
	}
	if row.err != nil {
		if time.Since(time.UnixMicro(row.since)) > staleAfter {
			_ = s.listed(ctx, deleteListed, row.since, tenant.ID[:], int16(kind), row.id)
		}
		return storage.Document{}, row.err
	}
	d := row.is.Document
	d.Tenant, d.ID.Type = tenant, kind
	copy(d.ID.ID[:], row.id)
	return d, nil
}
