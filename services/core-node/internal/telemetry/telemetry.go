// Package telemetry saves and reads the values of entities: storage first, then whoever
// watches. Only the owner of an entity's partition saves; everyone else asks it (Writer).
package telemetry

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Timed is values of one time.
type Timed struct {
	Time   int64 // ms
	Values []values.KeyValue
}

// DeleteTelemetry says which rows of which series to delete.
type DeleteTelemetry struct {
	Keys                   []string
	All                    bool // every row, whatever Within says
	Within                 storage.Span
	DeleteLatest           bool
	RewriteLatestIfDeleted bool
}

// Deletion is attributes that were deleted.
type Deletion struct {
	Tenant ident.TenantID
	Entity ident.EntityID
	Scope  storage.Scope
	Keys   []string
	// Notify tells the device's sessions of shared attributes.
	Notify bool
}

// Writer asks the owner of an entity to save or delete; it returns once that is durable.
// REST and everything else outside the owner's partition loop writes through it.
type Writer interface {
	SaveTelemetry(ctx context.Context, tenant ident.TenantID, e ident.EntityID, records []Timed, ttl time.Duration) error
	SaveAttributes(ctx context.Context, tenant ident.TenantID, e ident.EntityID, scope storage.Scope, kvs []values.KeyValue) error
	DeleteAttributes(ctx context.Context, tenant ident.TenantID, e ident.EntityID, scope storage.Scope, keys []string) error
	DeleteTelemetry(ctx context.Context, tenant ident.TenantID, e ident.EntityID, what DeleteTelemetry) error
}
