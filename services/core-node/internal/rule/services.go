package rule

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Services is what a node may use of the platform, and which node it is.
type Services struct {
	Log *slog.Logger
	Now func() time.Time
	// Service names this process in the fleet.
	Service string

	// Tenant whose chain it is; Chain and Node are the ids of the chain and of the node in it, Name is the node's, Queue its own
	// queue, if its Kind has one.
	Tenant ident.TenantID
	Chain  ident.ID
	Node   ident.ID
	Name   string
	Queue  string

	Scripts   Scripts
	Values    Values
	Eraser    Eraser
	Entities  *entity.Registry
	Relations *relation.Registry
	Alarms    *alarm.Registry
	Outside   *outside.Outside
}

// Scripts prepares tenants' scripts.
type Scripts interface {
	// Prepare checks what can be checked without running it. body is the body of a function of parameters. The error is the
	// script's own and fit for people.
	Prepare(tenant ident.TenantID, parameters []string, body string) (Script, error)
}

// Script is a tenant's function.
type Script interface {
	// Call runs it with texts and returns its result as JSON text, "" when it returned nothing. Errors are the
	// script's own, or the platform's (PlatformFault).
	Call(ctx context.Context, args []string) (string, error)
}

// Eraser deletes attributes durably; storage.Telemetry has it. Only a node that waits for the store uses it, and only for
// its message's originator: earlier saves are in the store then. It tells nobody: Turn.Deleted does.
type Eraser interface {
	DeleteAttributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) error
}

// Values reads what entities measured; storage.Telemetry has it.
type Values interface {
	// Latest returns latest values, sorted by key; keys nil means all.
	Latest(ctx context.Context, e ident.EntityID, keys []string) ([]storage.Entry, error)
	// Attributes returns attributes of one scope, sorted by key; keys nil means all.
	Attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) ([]storage.Entry, error)
	// Range yields one series' points within span, in order of time (descending if newestFirst).
	Range(ctx context.Context, e ident.EntityID, key string, within storage.Span, newestFirst bool) iter.Seq2[storage.Point, error]
}
