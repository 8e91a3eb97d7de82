package cassandra

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// claimAge is how old a claim without its document must be to be taken over: before, the change
// that made it may be on its way to the document.
const claimAge = 10 * time.Second

// lateAfter is when a change looks again whether it still holds its claims: its process may have been stopped.
const lateAfter = claimAge / 2

// claimTries bounds how often a claim that changes hands meanwhile is tried.
const claimTries = 5

const (
	insertClaim = "INSERT INTO claims (claim, tenant, kind, id, ticket, at) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS"
	takeClaim   = "UPDATE claims SET tenant = ?, kind = ?, id = ?, ticket = ?, at = ? WHERE claim = ? IF ticket = ?"
	deleteClaim = "DELETE FROM claims WHERE claim = ? IF ticket = ?"
	selectClaim = "SELECT tenant, kind, id, ticket, at FROM claims WHERE claim = ?"
)

// holder is a claim's row.
type holder struct {
	document []any
	ticket   []byte
	at       int64 // ms
}

// claimKey is a claim's key: never empty, which Cassandra would not take.
func claimKey(claim string) []byte { return append([]byte("c"), claim...) }

// claiming is the claims of one change.
type claiming struct {
	store    *Store
	document []any
	ticket   []byte
	begun    time.Time
	had      map[string][]byte // tickets of what the document holds already
	taken    []string          // what this change claimed
}

// claim takes what of claims the document has not got yet; all or, unless killed, nothing. In order, so that of
// changes that want the same claims one gets them all.
func (c *claiming) claim(ctx context.Context, claims []string) error {
	sorted := slices.Clone(claims)
	slices.Sort(sorted)
	for _, claim := range slices.Compact(sorted) {
		if _, ok := c.had[claim]; ok {
			continue
		}
		if err := c.take(ctx, claim); err != nil {
			c.release(ctx)
			return err
		}
		c.taken = append(c.taken, claim)
	}
	return nil
}

// take claims one.
func (c *claiming) take(ctx context.Context, claim string) error {
	key := claimKey(claim)
	for range claimTries {
		now := c.store.options.Now().UnixMilli()
		done, _, err := c.store.cas(ctx, insertClaim, append(append([]any{key}, c.document...), c.ticket, now)...)
		if done {
			return nil
		}
		// Read, be it to see who has it or what became of an answer that was lost.
		by, again := c.store.holder(ctx, gocql.Serial, key)
		switch {
		case errors.Is(again, storage.ErrNotFound) && err == nil:
			continue // let go of meanwhile
		case again != nil:
			return errors.Join(err, again)
		case bytes.Equal(by.ticket, c.ticket):
			return nil
		}
		if err := c.mayTake(ctx, claim, by, now); err != nil {
			return err
		}
		done, _, err = c.store.cas(ctx, takeClaim, append(slices.Clone(c.document), c.ticket, now, key, by.ticket)...)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", storage.ErrTaken, claim)
}

// mayTake reports whether a claim that is held is not: what the same document left of an earlier
// change, or what a change left that did not get to its document, or a delete that did not get further.
func (c *claiming) mayTake(ctx context.Context, claim string, by holder, now int64) error {
	taken := fmt.Errorf("%w: %s", storage.ErrTaken, claim)
	if samePlace(by.document, c.document) {
		return nil
	}
	if now-by.at < claimAge.Milliseconds() {
		return taken
	}
	is, err := c.store.document(ctx, gocql.Serial, by.document)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && slices.Contains(is.Claims, claim) {
		return taken
	}
	return err
}

func samePlace(a, b []any) bool {
	return bytes.Equal(a[0].([]byte), b[0].([]byte)) && a[1] == b[1] && bytes.Equal(a[2].([]byte), b[2].([]byte))
}

// holder reads a claim's row.
func (s *Store) holder(ctx context.Context, consistency gocql.Consistency, key []byte) (by holder, err error) {
	var tenant, id []byte
	var kind int16
	err = s.request(ctx, reading, func(ctx context.Context) error {
		return s.query(selectClaim, key).Consistency(consistency).ScanContext(ctx, &tenant, &kind, &id, &by.ticket, &by.at)
	})
	if errors.Is(err, gocql.ErrNotFound) {
		return by, storage.ErrNotFound
	}
	by.document = []any{tenant, kind, id}
	return by, err
}

// release gives back what a change claimed that comes to nothing. What it cannot give back is free when it is old.
func (c *claiming) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.store.options.Timeout)
	defer cancel()
	for _, claim := range c.taken {
		_, _, _ = c.store.cas(ctx, deleteClaim, claimKey(claim), c.ticket)
	}
}

// letGo gives back what the document had and has no more. What is not given back is free: the document does not list it.
func (c *claiming) letGo(ctx context.Context, has []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.store.options.Timeout)
	defer cancel()
	for claim, ticket := range c.had {
		if !slices.Contains(has, claim) {
			_, _, _ = c.store.cas(ctx, deleteClaim, claimKey(claim), ticket)
		}
	}
}

// confirm looks, if the change took so long that its claims may have been taken over before it got to the
// document, whether they were, and if so undoes it.
func (c *claiming) confirm(ctx context.Context, undo func(context.Context) error) error {
	if time.Since(c.begun) < lateAfter {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	for _, claim := range c.taken {
		by, err := c.store.holder(ctx, gocql.Serial, claimKey(claim))
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		if !bytes.Equal(by.ticket, c.ticket) {
			return errors.Join(fmt.Errorf("%w: %s", storage.ErrTaken, claim), undo(ctx))
		}
	}
	return nil
}

// encode notes the claims with the tickets they are held under.
func (c *claiming) encode(claims []string) []byte {
	tickets := map[string][]byte{}
	for _, claim := range claims {
		if tickets[claim] = c.ticket; c.had[claim] != nil {
			tickets[claim] = c.had[claim]
		}
	}
	return encodeClaims(claims, tickets)
}

const ticketBytes = 16

func encodeClaims(claims []string, tickets map[string][]byte) (b []byte) {
	for _, claim := range claims {
		b = append(append(binary.AppendUvarint(b, uint64(len(claim))), claim...), tickets[claim]...)
	}
	return b
}

func decodeClaims(b []byte) (claims []string, tickets map[string][]byte, err error) {
	tickets = map[string][]byte{}
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) || len(b)-n-int(size) < ticketBytes {
			return nil, nil, errValue
		}
		claim := string(b[n : n+int(size)])
		b = b[n+int(size):]
		claims = append(claims, claim)
		tickets[claim] = b[:ticketBytes]
		b = b[ticketBytes:]
	}
	return claims, tickets, nil
}
