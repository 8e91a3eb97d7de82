// Package live tells those who watch an entity of every value saved.
package live

import (
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
}

// Publisher is told of saves, after they are durable.
type Publisher interface{ Publish(updates []Update) }

// Subscriber registers watchers.
type Subscriber interface {
	// Watch calls deliver for every Update of e from now on, briefly and never concurrently per watch, until stop is called.
	Watch(e ident.EntityID, deliver func(Update)) (stop func())
}
