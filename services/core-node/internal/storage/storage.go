// Package storage holds the interfaces every store backend implements, by use. A backend
// passes storagetest. All methods are safe for concurrent use. Times are milliseconds since
// the epoch unless named otherwise; ranges include their start and exclude their end.
package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Errors of every backend. Compare with errors.Is.
var (
	// ErrNotFound: there is no such document or claim.
	ErrNotFound = errors.New("storage: not found")
	// ErrVersion: the document was changed meanwhile.
	ErrVersion = errors.New("storage: version conflict")
	// ErrTaken: a unique name or credential belongs to another document.
	ErrTaken = errors.New("storage: already taken")
	// ErrUnavailable: the store cannot take the request now; the same request may succeed later.
	ErrUnavailable = errors.New("storage: unavailable")
	// ErrInvalid: the store refuses this data however often it is tried.
	ErrInvalid = errors.New("storage: invalid")
)

// Scope is where a write or an attribute belongs.
type Scope uint8

// The scopes. Timeseries is the scope of telemetry; the others are those of attributes. RuleNode is what rule nodes keep of an
// entity: it goes with the entity, and no API shows it.
const (
	Timeseries Scope = iota
	Client
	Shared
	Server
	RuleNode
)

// Write is the values of one entity at one time, to be stored.
type Write struct {
	Entity ident.EntityID
	Scope  Scope
	Time   int64 // of the reading; for attributes the time of the update
	// Stamp (µs) decides between two writes of the same cell: the larger wins.
	Stamp  int64
	TTL    time.Duration // of time series rows; 0 keeps them
	Values []telemetry.KeyValue
	// Timeseries scope only: leave out the history row, or the latest value.
	SkipHistory, SkipLatest bool
}

// Entry is one latest value or attribute; for attributes Time is the last update.
type Entry struct {
	telemetry.KeyValue
	Time int64
}

// Point is one value of a series.
type Point struct {
	Time  int64
	Value telemetry.Value
}

// Span is a half-open range of time.
type Span struct{ Start, End int64 }

// Telemetry is time series, latest values and attributes: the values of entities. A delete removes what is stored. Who writes
// an entity's values gives them stamps that grow, so a write after a delete has a larger stamp than what was deleted, and
// is seen, whatever its time; a replay of what was deleted may be seen again or not.
type Telemetry interface {
	// Write stores the whole batch durably; nil means all of it is. Same series and time: the larger Stamp
	// wins, the later in the batch on a tie (of two batches: either, for all readers). Latest: the larger Time wins, an equal Time replaces. Values
	// are not kept after return. ErrUnavailable and ErrInvalid speak of the whole batch (nothing was stored on ErrInvalid).
	Write(ctx context.Context, batch []Write) error
	// Range yields one series' points within span, in order of time (descending if newestFirst). Expired rows are invisible.
	Range(ctx context.Context, e ident.EntityID, key string, within Span, newestFirst bool) iter.Seq2[Point, error]
	// Latest returns latest values, sorted by key; keys nil means all.
	Latest(ctx context.Context, e ident.EntityID, keys []string) ([]Entry, error)
	// Attributes returns attributes of one scope, sorted by key; keys nil means all.
	Attributes(ctx context.Context, e ident.EntityID, scope Scope, keys []string) ([]Entry, error)
	// DeleteSeries removes history rows within span.
	DeleteSeries(ctx context.Context, e ident.EntityID, keys []string, within Span) error
	// DeleteLatest removes latest values.
	DeleteLatest(ctx context.Context, e ident.EntityID, keys []string) error
	// DeleteAttributes removes attributes.
	DeleteAttributes(ctx context.Context, e ident.EntityID, scope Scope, keys []string) error
	// DeleteEntity removes all values of an entity.
	DeleteEntity(ctx context.Context, e ident.EntityID) error
}

// Document is a stored entity: an opaque body under compare-and-set.
type Document struct {
	Tenant  ident.TenantID // zero for entities of the system
	ID      ident.EntityID
	Version int64 // 1 after create
	Body    json.RawMessage
	// Claims are the unique rows this document holds, such as "device-name/<tenant>/<name>". Unique over the whole store.
	Claims []string
}

// Entities is versioned documents with unique claims.
type Entities interface {
	// Create stores a new document with Version 1 and its claims: ErrTaken (wrapping names the claim) when one is another's.
	Create(ctx context.Context, d Document) error
	// Update replaces the document if its stored version is d.Version, and makes that d.Version+1. Claims are exchanged
	// with it. ErrVersion, ErrTaken, ErrNotFound. It returns the new version.
	Update(ctx context.Context, d Document) (int64, error)
	// Delete removes a document and its claims; version 0 means whatever it is.
	Delete(ctx context.Context, tenant ident.TenantID, id ident.EntityID, version int64) error
	// Get reads a document. Another tenant's is ErrNotFound.
	Get(ctx context.Context, tenant ident.TenantID, id ident.EntityID) (Document, error)
	// ByClaim reads the document that holds a claim.
	ByClaim(ctx context.Context, claim string) (Document, error)
	// List yields the tenant's documents of one type in order of id, starting after `after` (zero: from the first).
	List(ctx context.Context, tenant ident.TenantID, kind ident.EntityType, after ident.ID) iter.Seq2[Document, error]
}

// Row is a small record, kept in order of Key within its group. Keys have 1 to 2048 bytes.
type Row struct{ Key, Body []byte }

// Rows is small records in groups: indexes, relations, events. A group is any text of 1 to 1024 bytes that begins with what it
// is for, such as "relation/"; it is unique over the whole store, so it names the tenant. The larger a group, the slower some
// backends are: below 100,000 rows is meant.
type Rows interface {
	// ChangeRows puts and removes rows of one group, all or none; ttl 0 keeps what is put. What is there under a key is
	// replaced, its ttl included; a key both put and removed is put. Changes made one after another by one process apply in that order; of
	// changes made at once by two, either may win. ErrUnavailable, ErrInvalid (nothing was changed).
	ChangeRows(ctx context.Context, group string, put []Row, remove [][]byte, ttl time.Duration) error
	// ScanRows yields a group's rows with from <= key < to (to nil: to the end), in order, or from the end if newestFirst.
	// Expired rows are invisible. What is yielded is the caller's.
	ScanRows(ctx context.Context, group string, from, to []byte, newestFirst bool) iter.Seq2[Row, error]
	// DeleteRows removes a whole group.
	DeleteRows(ctx context.Context, group string) error
}

// Most bytes of the name of a group and of a row's key, and most bytes that one change of rows may put.
const (
	MaxGroupBytes  = 1024
	MaxKeyBytes    = 2048
	MaxChangeBytes = 4 << 20
)

// CheckRows is ErrInvalid for a change that no backend takes.
func CheckRows(group string, put []Row, remove [][]byte, ttl time.Duration) error {
	if len(group) == 0 || len(group) > MaxGroupBytes {
		return fmt.Errorf("%w: group of %d bytes", ErrInvalid, len(group))
	}
	if ttl < 0 {
		return fmt.Errorf("%w: time to live %v", ErrInvalid, ttl)
	}
	bytes := 0
	for _, row := range put {
		if len(row.Key) == 0 || len(row.Key) > MaxKeyBytes {
			return fmt.Errorf("%w: key of %d bytes", ErrInvalid, len(row.Key))
		}
		bytes += len(row.Key) + len(row.Body)
	}
	for _, key := range remove {
		if len(key) == 0 || len(key) > MaxKeyBytes {
			return fmt.Errorf("%w: key of %d bytes", ErrInvalid, len(key))
		}
		bytes += len(key)
	}
	if bytes > MaxChangeBytes {
		return fmt.Errorf("%w: a change of %d bytes, more than %d", ErrInvalid, bytes, MaxChangeBytes)
	}
	return nil
}

// Store is one backend, opened.
type Store interface {
	Telemetry
	Entities
	Rows
	// Ready returns nil, or why the store takes no writes now (ErrUnavailable).
	Ready() error
	Close() error
}
