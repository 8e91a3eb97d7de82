package cassandra

import (
	"context"
	"errors"
	"fmt"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// stored is a document as it is stored.
type stored struct {
	storage.Document
	ticket  []byte            // of the change that wrote it
	tickets map[string][]byte // under which it holds its claims
}

const selectDocument = "SELECT version, claims, body, ticket FROM documents WHERE tenant = ? AND kind = ? AND id = ?"

// document reads a document; its key is not filled in.
func (s *Store) document(ctx context.Context, consistency gocql.Consistency, at []any) (is stored, err error) {
	var claims, body []byte
	err = s.request(ctx, reading, func(ctx context.Context) error {
		return s.query(selectDocument, at...).Consistency(consistency).ScanContext(ctx, &is.Version, &claims, &body, &is.ticket)
	})
	if errors.Is(err, gocql.ErrNotFound) {
		return stored{}, storage.ErrNotFound
	}
	if err != nil {
		return stored{}, err
	}
	is.Body = body
	is.Claims, is.tickets, err = decodeClaims(claims)
	return is, err
}

// transact runs one lightweight transaction on the document at a place, and reports whether it was done, and
// if not, whether the document is there. When its answer is lost, the document is read again, which settles what
// was under way; wasDone then tells from what is found (nothing: no ticket) whether this was. wasDone nil leaves it open.
func (s *Store) transact(ctx context.Context, wasDone func(stored) bool, at []any, statement string, args ...any) (done, there bool, err error) {
	done, found, err := s.cas(ctx, statement, args...)
	if err == nil {
		return done, len(found) > 0, nil
	}
	if wasDone == nil || errors.Is(err, storage.ErrInvalid) {
		return false, false, err
	}
	is, again := s.document(ctx, gocql.Serial, at)
	switch {
	case errors.Is(again, storage.ErrNotFound):
		return wasDone(stored{}), false, nil
	case again != nil:
		return false, false, errors.Join(err, again)
	}
	return wasDone(is), true, nil
}

// cas runs one lightweight transaction. Not applied, it returns the row that was in the way.
func (s *Store) cas(ctx context.Context, statement string, args ...any) (applied bool, found map[string]any, err error) {
	found = map[string]any{}
	err = s.step(ctx, func(ctx context.Context) (err error) {
		q := s.session().Query(statement, args...).Consistency(s.consistency).SerialConsistency(gocql.Serial)
		applied, err = q.MapScanCASContext(ctx, found)
		return err
	})
	if err != nil {
		return false, nil, fmt.Errorf("transaction: %w", err)
	}
	return applied, found, nil
}

// step is one request of a change, before which a kill may strike.
func (s *Store) step(ctx context.Context, run func(context.Context) error) error {
	if s.before != nil {
		if err := s.before(); err != nil {
			return err
		}
	}
	return s.request(ctx, changing, run)
}
