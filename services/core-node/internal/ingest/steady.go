package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// steady implements rule.Options.Steady; blocking nodes use it beside the owner.
func (p *partition) steady(ctx context.Context, doing string, op func() error) error {
	err := op()
	if err == nil || !rule.PlatformFault(err) {
		return err
	}
	p.d.Metrics.stopped.Inc()
	defer p.d.Metrics.stopped.Dec()
	defer p.clearTrouble()
	p.log.Warn("waiting for the platform", "doing", doing, "err", err)
	pause := firstPause
	for {
		trouble := fmt.Errorf("%s: %w", doing, err)
		p.trouble.Store(&trouble)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if !p.lease.Valid() {
			return errLease
		}
		if err = op(); err == nil || !rule.PlatformFault(err) {
			p.log.Info("the platform is back", "doing", doing)
			return err
		}
		pause = min(2*pause, lastPause)
	}
}

// The pauses between attempts at something the platform refuses.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 5 * time.Second
)

func (p *partition) clearTrouble() {
	p.healthy.Store(p.d.Now().UnixMicro())
	p.trouble.Store(nil)
}
