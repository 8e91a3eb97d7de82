package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// A document's value is its version, its claims each behind its length, and the body. Document
// and claims change in one batch: a kill finds all of it or nothing.

// Create stores a new document and its claims.
func (s *Store) Create(ctx context.Context, d storage.Document) error {
	if err := s.room(); err != nil {
		return wrap("create", d.ID, err)
	}
	err := s.changeDocument(ctx, func(b *pebble.Batch) error {
		key := appendDocument(nil, d.Tenant, d.ID)
		if _, err := s.document(key); !errors.Is(err, storage.ErrNotFound) {
			if err == nil {
				err = fmt.Errorf("%w: the id", storage.ErrTaken)
			}
			return err
		}
		if err := s.claim(b, d, key, nil); err != nil {
			return err
		}
		d.Version = 1
		return b.Set(key, encodeDocument(d), nil)
	})
	return wrap("create", d.ID, err)
}

// Update replaces a document and exchanges its claims.
func (s *Store) Update(ctx context.Context, d storage.Document) (int64, error) {
	if err := s.room(); err != nil {
		return 0, wrap("update", d.ID, err)
	}
	err := s.changeDocument(ctx, func(b *pebble.Batch) error {
		key := appendDocument(nil, d.Tenant, d.ID)
		old, err := s.document(key)
		if err != nil {
			return err
		}
		if old.Version != d.Version {
			return fmt.Errorf("%w: it is at %d, not %d", storage.ErrVersion, old.Version, d.Version)
		}
		if err := s.claim(b, d, key, old.Claims); err != nil {
			return err
		}
		d.Version++
		return b.Set(key, encodeDocument(d), nil)
	})
	return d.Version, wrap("update", d.ID, err)
}

// Delete removes a document and its claims.
func (s *Store) Delete(ctx context.Context, tenant ident.TenantID, id ident.EntityID, version int64) error {
	err := s.changeDocument(ctx, func(b *pebble.Batch) error {
		key := appendDocument(nil, tenant, id)
		old, err := s.document(key)
		if err != nil {
			return err
		}
		if version != 0 && old.Version != version {
			return fmt.Errorf("%w: it is at %d, not %d", storage.ErrVersion, old.Version, version)
		}
		for _, claim := range old.Claims {
			if err := b.Delete(claimKey(claim), nil); err != nil {
				return err
			}
		}
		return b.Delete(key, nil)
	})
	return wrap("delete", id, err)
}

// changeDocument makes fill's reads and the commit of what it writes one step. The commit is seen
// by others before it is synced, but nobody is answered before: commits share their syncs.
func (s *Store) changeDocument(ctx context.Context, fill func(*pebble.Batch) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	defer b.Close()
	s.documents.Lock()
	err := fill(b)
	if err == nil {
		err = s.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	s.documents.Unlock()
	if err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return refused("sync", err)
	}
	return nil
}

// claim takes d's claims for it and lets go of those it had and has no more.
func (s *Store) claim(b *pebble.Batch, d storage.Document, key []byte, had []string) error {
	for _, claim := range d.Claims {
		holder, closer, err := s.db.Get(claimKey(claim))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
		case err != nil:
			return err
		default:
			mine := bytes.Equal(holder, key)
			if err := closer.Close(); err != nil {
				return err
			}
			if !mine {
				return fmt.Errorf("%w: %s", storage.ErrTaken, claim)
			}
		}
		if err := b.Set(claimKey(claim), key, nil); err != nil {
			return err
		}
	}
	for _, claim := range had {
		if !slices.Contains(d.Claims, claim) {
			if err := b.Delete(claimKey(claim), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Get reads a document.
func (s *Store) Get(ctx context.Context, tenant ident.TenantID, id ident.EntityID) (storage.Document, error) {
	if err := s.enter(ctx); err != nil {
		return storage.Document{}, wrap("read", id, err)
	}
	defer s.leave()
	d, err := s.document(appendDocument(nil, tenant, id))
	return d, wrap("read", id, err)
}

// ByClaim reads the document that holds a claim.
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
	// One view for both reads: between them the document may go, or the claim change hands.
	view := s.db.NewSnapshot()
	defer view.Close()
	key, err := get(view, claimKey(claim))
	if err != nil {
		return storage.Document{}, err
	}
	return documentIn(view, key)
}

func (s *Store) document(key []byte) (storage.Document, error) { return documentIn(s.db, key) }

func documentIn(from pebble.Reader, key []byte) (storage.Document, error) {
	value, err := get(from, key)
	if err != nil {
		return storage.Document{}, err
	}
	return decodeDocument(key, value)
}

// get returns a copy of key's value.
func get(from pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(value), closer.Close()
}

// List yields documents in order of id.
func (s *Store) List(ctx context.Context, tenant ident.TenantID, kind ident.EntityType, from ident.ID) iter.Seq2[storage.Document, error] {
	return func(yield func(storage.Document, error) bool) {
		if err := s.enter(ctx); err != nil {
			yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
			return
		}
		defer s.leave()
		prefix := append(append([]byte{tableDocuments}, tenant.ID[:]...), byte(kind))
		it, err := s.iterate(prefix)
		if err != nil {
			yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
			return
		}
		defer it.Close()
		if !from.IsZero() {
			it.SetBounds(append(append(slices.Clone(prefix), from[:]...), 0), after(prefix))
		}
		for ok := it.First(); ok; ok = it.Next() {
			d, err := listed(ctx, it)
			if err != nil {
				yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(storage.Document{}, fmt.Errorf("list %v: %w", kind, err))
		}
	}
}

func listed(ctx context.Context, it *pebble.Iterator) (storage.Document, error) {
	if err := ctx.Err(); err != nil {
		return storage.Document{}, err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return storage.Document{}, err
	}
	return decodeDocument(it.Key(), bytes.Clone(value))
}

func encodeDocument(d storage.Document) []byte {
	b := binary.AppendVarint(nil, d.Version)
	b = binary.AppendUvarint(b, uint64(len(d.Claims)))
	for _, claim := range d.Claims {
		b = append(binary.AppendUvarint(b, uint64(len(claim))), claim...)
	}
	return append(b, d.Body...)
}

// decodeDocument is encodeDocument's inverse; value belongs to the document from then on.
func decodeDocument(key, value []byte) (storage.Document, error) {
	var d storage.Document
	if len(key) != 1+16+entityBytes {
		return d, errKey
	}
	copy(d.Tenant.ID[:], key[1:])
	d.ID.Type = ident.EntityType(key[17])
	copy(d.ID.ID[:], key[18:])
	version, n := binary.Varint(value)
	if n <= 0 {
		return d, errValue
	}
	d.Version, value = version, value[n:]
	claims, n := binary.Uvarint(value)
	if n <= 0 {
		return d, errValue
	}
	value = value[n:]
	for range claims {
		size, n := binary.Uvarint(value)
		if n <= 0 || size > uint64(len(value)-n) {
			return d, errValue
		}
		d.Claims = append(d.Claims, string(value[n:n+int(size)]))
		value = value[n+int(size):]
	}
	d.Body = value
	return d, nil
}
