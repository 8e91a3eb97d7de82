package corenode

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/cassandra"
)

// ExamineRing opens a session with ZooKeeper as a core node of these settings does, without becoming one. It returns the
// nodes there are and the session time-out that ZooKeeper grants.
func ExamineRing(ctx context.Context, c Config) (nodes []string, timeout time.Duration, err error) {
	return ring.Examine(ctx, c.Ring)
}

// ExamineStore opens the shared store of these settings as a core node does, writes to it, and returns what time it has.
func ExamineStore(ctx context.Context, c Config) (clock time.Time, err error) {
	return cassandra.Examine(ctx, cassandra.Options{Settings: c.Cassandra})
}
