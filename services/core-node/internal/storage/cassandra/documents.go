package cassandra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// A document and its claims are several rows of different partitions, which no batch of Cassandra changes as
// one. So the document's row alone decides: a claim counts only if the document it names is there and lists
// it. A change claims first, changes the document in one lightweight transaction, and lets go of claims last;
// whatever point a kill strikes at, what is left over counts for nothing and can be taken over.
//
// Every change carries a ticket of its own. It tells a transaction that timed out whether it was done after all, and
// makes the release of a claim miss if another change has taken the claim since.

// changeTimeout bounds a whole change: it is over before its claims are old enough to be taken over.
const changeTimeout = 5 * time.Second

const (
	insertDocument = "INSERT INTO documents (tenant, kind, id, version, claims, body, ticket) VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
	updateDocument = "UPDATE documents SET version = ?, claims = ?, body = ?, ticket = ? WHERE tenant = ? AND kind = ? AND id = ? IF ticket = ?"
	deleteDocument = "DELETE FROM documents WHERE tenant = ? AND kind = ? AND id = ? IF ticket = ?"
	insertListed   = "INSERT INTO list (tenant, kind, id, v) VALUES (?, ?, ?, 0)"
	listedSince    = "SELECT writetime(v) FROM list WHERE tenant = ? AND kind = ? AND id = ?"
	deleteListed   = "DELETE FROM list USING TIMESTAMP ? WHERE tenant = ? AND kind = ? AND id = ?"
)

func newTicket() []byte {
	id := uuid.New()
	return id[:]
}

// place is a document's key.
func place(tenant ident.TenantID, id ident.EntityID) []any {
	return []any{tenant.ID[:], int16(id.Type), id.ID[:]}
}

// Create stores a new document and its claims.
func (s *Store) Create(ctx context.Context, d storage.Document) error {
	return s.change(ctx, "create", d.ID, func(ctx context.Context) error {
		at := place(d.Tenant, d.ID)
		if _, err := s.document(ctx, s.consistency, at); !errors.Is(err, storage.ErrNotFound) {
			return errors.Join(err, takenID(err))
		}
		if err := s.checkDocument(d); err != nil {
			return err
		}
		c := claiming{store: s, document: at, ticket: newTicket(), begun: time.Now()}
		if err := c.claim(ctx, d.Claims); err != nil {
			return err
		}
		if err := s.listed(ctx, insertListed, at...); err != nil {
			c.release(ctx)
			return err
		}
		d.Version = 1
		done, _, err := s.transact(ctx, func(is stored) bool { return bytes.Equal(is.ticket, c.ticket) }, at,
			insertDocument, append(slices.Clone(at), d.Version, c.encode(d.Claims), []byte(d.Body), c.ticket)...)
		if err != nil {
			return err // nobody knows; what it claimed is free again when it is old, or held if it was done
		}
		if !done {
			c.release(ctx)
			return takenID(nil)
		}
		return c.confirm(ctx, func(ctx context.Context) error {
			_, _, err := s.transact(ctx, nil, at, deleteDocument, append(slices.Clone(at), c.ticket)...)
			return err
		})
	})
}

// takenID says that a document of the id exists, unless looking for it failed.
func takenID(failed error) error {
	if failed != nil {
		return nil
	}
	return fmt.Errorf("%w: the id", storage.ErrTaken)
}

// Update replaces a document and exchanges its claims.
func (s *Store) Update(ctx context.Context, d storage.Document) (int64, error) {
	err := s.change(ctx, "update", d.ID, func(ctx context.Context) error {
		at := place(d.Tenant, d.ID)
		old, err := s.document(ctx, s.consistency, at)
		if err != nil {
			return err
		}
		if old.Version != d.Version {
			return fmt.Errorf("%w: it is at %d, not %d", storage.ErrVersion, old.Version, d.Version)
		}
		if err := s.checkDocument(d); err != nil {
			return err
		}
		c := claiming{store: s, document: at, ticket: newTicket(), begun: time.Now(), had: old.tickets}
		if err := c.claim(ctx, d.Claims); err != nil {
			return err
		}
		d.Version++
		args := []any{d.Version, c.encode(d.Claims), []byte(d.Body), c.ticket}
		done, there, err := s.transact(ctx, func(is stored) bool { return bytes.Equal(is.ticket, c.ticket) }, at,
			updateDocument, append(append(args, at...), old.ticket)...)
		switch {
		case err != nil:
			return err
		case !done:
			c.release(ctx)
			if !there {
				return storage.ErrNotFound
			}
			return fmt.Errorf("%w: it was changed meanwhile", storage.ErrVersion)
		}
		err = c.confirm(ctx, func(ctx context.Context) error {
			args := []any{d.Version + 1, encodeClaims(old.Claims, old.tickets), []byte(old.Body), old.ticket}
			_, _, err := s.transact(ctx, nil, at, updateDocument, append(append(args, at...), c.ticket)...)
			return err
		})
		if err == nil {
			c.letGo(ctx, d.Claims)
		}
		return err
	})
	return d.Version, err
}

// Delete removes a document and its claims.
func (s *Store) Delete(ctx context.Context, tenant ident.TenantID, id ident.EntityID, version int64) error {
	return s.change(ctx, "delete", id, func(ctx context.Context) error {
		at := place(tenant, id)
		for {
			old, err := s.document(ctx, s.consistency, at)
			if err != nil {
				return err
			}
			if version != 0 && old.Version != version {
				return fmt.Errorf("%w: it is at %d, not %d", storage.ErrVersion, old.Version, version)
			}
			since, err := s.listedSince(ctx, at)
			if err != nil {
				return err
			}
			done, there, err := s.transact(ctx, func(is stored) bool { return is.ticket == nil }, at,
				deleteDocument, append(slices.Clone(at), old.ticket)...)
			switch {
			case err != nil:
				return err
			case !done && !there:
				return storage.ErrNotFound
			case !done:
				continue // changed meanwhile: look again whether that version is to go, too
			}
			// The document is gone, whatever becomes of what is left of it.
			c := claiming{store: s, had: old.tickets}
			c.letGo(ctx, nil)
			if since != nil {
				_ = s.listed(ctx, deleteListed, append([]any{*since}, at...)...)
			}
			return nil
		}
	})
}

// change runs a change within its time.
func (s *Store) change(ctx context.Context, doing string, id ident.EntityID, run func(context.Context) error) error {
	return s.remove(ctx, doing, id, func(outer context.Context) error {
		ctx, cancel := context.WithTimeout(outer, changeTimeout)
		defer cancel()
		err := run(ctx)
		if err != nil && ctx.Err() != nil && outer.Err() == nil {
			return refused(fmt.Errorf("not done within %v: %w", changeTimeout, err))
		}
		return err
	})
}

// maxClaimBytes bounds a claim; Cassandra takes keys of 64 KiB.
const maxClaimBytes = 8 << 10

// checkDocument finds what could never be stored.
func (s *Store) checkDocument(d storage.Document) error {
	if len(d.Body) > maxValueBytes {
		return fmt.Errorf("%w: a body of %d bytes, more than %d", storage.ErrInvalid, len(d.Body), maxValueBytes)
	}
	for _, claim := range d.Claims {
		if len(claim) > maxClaimBytes {
			return fmt.Errorf("%w: a claim of %d bytes, more than %d", storage.ErrInvalid, len(claim), maxClaimBytes)
		}
	}
	return nil
}

// listed changes the list of a tenant's documents of one type.
func (s *Store) listed(ctx context.Context, statement string, args ...any) error {
	return s.step(ctx, func(ctx context.Context) error {
		return s.session().Query(statement, args...).Consistency(s.consistency).ExecContext(ctx)
	})
}

// listedSince returns the timestamp of a document's row in the list: a later row, of a document of
// the same id, is not to go with it.
func (s *Store) listedSince(ctx context.Context, at []any) (since *int64, err error) {
	err = s.rows(ctx, func(scan func(...any) bool) bool { return scan(&since) }, listedSince, at...)
	return since, err
}
