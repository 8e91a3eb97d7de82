package cassandra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// maxTimeout bounds one request, so that a change of a document is over well before its claims may be taken over.
const maxTimeout = 5 * time.Second

// kinds of request, as the figures name them.
const (
	writing  = "write"
	reading  = "read"
	deleting = "delete"
	changing = "change" // of documents: lightweight transactions
)

// retries is how often a request that may be repeated is tried on the next node at once, when a
// node has refused it. The caller decides about all later attempts.
const retries = 1

// again is the retry policy of requests that may be repeated.
type again struct{ figures *figures }

// Attempt says whether one more is in order.
func (a again) Attempt(q gocql.RetryableQuery) bool { return q.Attempts() <= retries }

// GetRetryType sends on to the next node what this one could not do. A time-out is the caller's to repeat: its time is over.
func (a again) GetRetryType(err error) gocql.RetryType {
	if errors.Is(err, gocql.ErrTimeoutNoResponse) || errors.Is(err, context.DeadlineExceeded) {
		return gocql.Rethrow
	}
	switch err.(type) {
	case *gocql.RequestErrInvalid, *gocql.RequestErrSyntax, *gocql.RequestErrUnauthorized, *gocql.RequestErrWriteTimeout, *gocql.RequestErrReadTimeout:
		return gocql.Rethrow
	}
	a.figures.retries.Inc()
	return gocql.RetryNextHost
}

// request runs one request within the bound of those under way and its time-out, counts it, and
// says of its error what it means.
func (s *Store) request(ctx context.Context, kind string, run func(context.Context) error) error {
	slots := s.others
	if kind == writing {
		slots = s.writes
	}
	if err := s.wait(ctx, slots); err != nil {
		return err
	}
	defer func() { <-slots }()
	return s.run(ctx, kind, run)
}

// wait takes a slot. Who waits while Cassandra is away is told so in time, and not when all before it were.
func (s *Store) wait(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTicker(s.options.Timeout)
	defer patience.Stop()
	for {
		select {
		case slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			if err := s.Ready(); err != nil {
				return err
			}
		}
	}
}

// run is request without the bound.
func (s *Store) run(ctx context.Context, kind string, run func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	started := time.Now()
	err := run(limited)
	s.figures.latency.WithLabelValues(kind).Observe(time.Since(started).Seconds())
	if err == nil || errors.Is(err, gocql.ErrNotFound) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	name, meaning := classify(err)
	s.figures.errors.WithLabelValues(kind, name).Inc()
	return fmt.Errorf("%w: %w", meaning, err)
}

// classify names an error of the driver and says which of the store's errors it is. What nobody
// knows is the platform's fault, never the data's.
func classify(err error) (name string, meaning error) {
	switch e := err.(type) {
	case *gocql.RequestErrInvalid:
		if ofSchema(e.Message()) {
			return "schema", storage.ErrUnavailable
		}
		return "invalid", storage.ErrInvalid
	case *gocql.RequestErrUnavailable:
		return "unavailable", storage.ErrUnavailable
	case *gocql.RequestErrOverloaded:
		return "overloaded", storage.ErrUnavailable
	case *gocql.RequestErrWriteTimeout, *gocql.RequestErrReadTimeout, *gocql.RequestErrCASWriteUnknown:
		return "timeout", storage.ErrUnavailable
	case *gocql.RequestErrWriteFailure, *gocql.RequestErrReadFailure:
		return "failure", storage.ErrUnavailable
	case *gocql.RequestErrUnauthorized, *gocql.RequestErrCredentials:
		return "unauthorized", storage.ErrUnavailable
	}
	switch {
	case errors.Is(err, gocql.ErrTimeoutNoResponse), errors.Is(err, context.DeadlineExceeded):
		return "timeout", storage.ErrUnavailable
	case errors.Is(err, gocql.ErrNoConnections), errors.Is(err, gocql.ErrConnectionClosed):
		return "connection", storage.ErrUnavailable
	}
	return "other", storage.ErrUnavailable
}

// ofSchema reports whether Cassandra complains of what is there to write to, not of what is written.
func ofSchema(message string) bool {
	message = strings.ToLower(message)
	for _, of := range []string{"unconfigured table", "keyspace", "undefined column", "unknown identifier", "table", "schema"} {
		if strings.Contains(message, of) {
			return true
		}
	}
	return false
}

// query prepares a read that may be repeated on another node.
func (s *Store) query(statement string, args ...any) *gocql.Query {
	return s.session().Query(statement, args...).Consistency(s.consistency).Idempotent(true).RetryPolicy(again{s.figures})
}

// rows runs a read that fits into memory and calls row for each row, with scan to take it apart.
func (s *Store) rows(ctx context.Context, row func(scan func(...any) bool) bool, statement string, args ...any) error {
	return s.request(ctx, reading, func(ctx context.Context) error {
		it := s.query(statement, args...).IterContext(ctx)
		for row(it.Scan) {
		}
		return it.Close()
	})
}
