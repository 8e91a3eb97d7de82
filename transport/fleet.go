package transport

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/transport/limit"
	"github.com/sluice-iot/sluice/transport/redis"
)

// openRedis prepares what the transports of a fleet share, if the settings name a Redis.
func (t *Transport) openRedis(r prometheus.Registerer) error {
	metrics, err := redis.NewMetrics(r)
	if err != nil || t.config.Redis.URL == "" {
		return err
	}
	c := t.config.Redis
	if t.redis, err = redis.Open(c, t.log, metrics); err != nil {
		return err
	}
	t.history = newHistory(c.Events)
	t.verdicts = &sharedVerdicts{
		store: t.redis, history: t.history, key: c.Secret(), lookups: t.metrics.redisLookups, log: t.log,
	}
	if c.Limits > 0 {
		t.ledger = limit.NewLedger(c.Limits)
	}
	return nil
}

func (t *Transport) closeRedis() {
	if t.redis == nil {
		return
	}
	if err := t.redis.Close(); err != nil {
		t.log.Debug("close redis", slog.Any("err", err))
	}
}

// rateRound is how often rates are told to Redis, and so how late a process learns what others let pass.
const rateRound = 100 * time.Millisecond

// shareRates tells Redis what was spent of rates and learns what is left, until ctx ends.
func (t *Transport) shareRates(ctx context.Context) {
	if t.ledger == nil {
		return
	}
	round := time.NewTicker(rateRound)
	defer round.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-round.C:
			usages := t.ledger.Read()
			if len(usages) == 0 {
				continue
			}
			// An error is counted and, by the client, logged; each process limits alone meanwhile.
			err := t.redis.Charge(ctx, usages)
			t.metrics.redisRates.WithLabelValues(result(err)).Add(float64(len(usages)))
		}
	}
}
