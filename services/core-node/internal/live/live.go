// Package live tells those who watch an entity of every value saved: within the process (Hub), at the owner of a
// partition for other nodes (Audience), and at a node that watches what others own (Watches).
package live

import (
	"context"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Update is one save as watchers see it. Its slices are shared: read only.
type Update struct {
	Entity  ident.EntityID
	Scope   storage.Scope
	Time    int64
	Values  []telemetry.KeyValue
	Deleted []string

	// between: it was read to catch up, and is older than the newest value.
	between bool
}

// Publisher is told of saves, after they are durable.
type Publisher interface{ Publish(updates []Update) }

// Subscriber registers watchers.
type Subscriber interface {
	// Watch calls deliver for every Update of e that this process hears of from now on, briefly and never concurrently
	// per watch, until stop is called. It does not wait.
	Watch(e ident.EntityID, deliver func(Update)) (stop func())
	// Settle waits, within a bound, until whoever saves values of e, which is watched, tells this process: what is read
	// after it and what is delivered then leave nothing out. When the bound passes first it returns nil as well, and what
	// is missed is delivered later, once. fault.Limited: too many are watched already; the watch hears nothing for sure.
	Settle(ctx context.Context, e ident.EntityID) error
}
