package corenode

import (
	"context"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
)

// openRing finds how the partitions are shared: through ZooKeeper, or all to this node if none is configured. What it returns
// must be run.
func (s *Service) openRing(ctx context.Context) (ring.Ring, error) {
	if !s.config.Ring.Configured() {
		return ring.Static(s.partitions), nil
	}
	opened, err := ring.Open(ctx, ring.Options{
		Settings: s.config.Ring, Node: s.config.NodeID, Addresses: s.addresses(),
		Partitions: s.partitions, Log: s.env.Log, Metrics: s.env.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("open the ring: %w", err)
	}
	s.env.Health.Check("ring", opened.Ready)
	return opened, nil
}
