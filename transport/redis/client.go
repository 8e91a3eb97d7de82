package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	driver "github.com/redis/go-redis/v9"
)

// ErrAway: Redis failed a moment ago and is left alone until it answers again. Nothing was waited for.
var ErrAway = errors.New("redis: away")

// Client is this process's way to Redis. Safe for concurrent use.
type Client struct {
	config  Config
	log     *slog.Logger
	metrics *Metrics
	driver  driver.UniversalClient

	away   atomic.Bool
	failed chan struct{} // wakes Run; holds one

	mu     sync.Mutex
	logged time.Time // when a failure was last logged
}

// Open returns a Client. It connects to nothing yet and counts as away until Run has heard from
// Redis, so that one that is not there costs no device anything. Close it.
func Open(c Config, log *slog.Logger, m *Metrics) (*Client, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	muteDriver()
	r := &Client{config: c, log: log, metrics: m, driver: driver.NewUniversalClient(o), failed: make(chan struct{}, 1)}
	r.away.Store(true)
	r.failed <- struct{}{}
	return r, nil
}

// muteDriver keeps the driver from writing to standard error: its failures come back as errors
// and are told there. The driver has one logger for a whole process.
var muteDriver = sync.OnceFunc(func() { driver.SetLogger(mute{}) })

type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

// Close closes the connections.
func (r *Client) Close() error {
	if err := r.driver.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// Run looks, after a failure, whether Redis answers again, until ctx ends.
func (r *Client) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.failed:
		}
		for r.away.Load() {
			err := r.limited(ctx, func(ctx context.Context) error { return r.driver.Ping(ctx).Err() })
			if err == nil {
				r.away.Store(false)
				r.metrics.up.Set(1)
				r.log.Info("redis answers")
				break
			}
			r.tell(err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(r.config.Pause):
			}
		}
	}
}

// do makes a request unless Redis is away, and gives it one time-out. An error sends Redis away.
func (r *Client) do(ctx context.Context, request func(context.Context) error) error {
	if r.away.Load() {
		return ErrAway
	}
	err := r.limited(ctx, request)
	if err == nil || ctx.Err() != nil { // who asked gave up: that says nothing of Redis
		return err
	}
	if r.away.CompareAndSwap(false, true) {
		r.metrics.up.Set(0)
		r.metrics.failures.Inc()
		r.tell(err)
		r.failed <- struct{}{}
	}
	return err
}

func (r *Client) limited(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	return request(ctx)
}

// logEvery keeps a Redis that comes and goes from filling the log.
const logEvery = time.Minute

func (r *Client) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.logged.IsZero() || now.Sub(r.logged) >= logEvery {
		r.logged = now
		r.log.Warn("redis does not answer; going on without it", slog.Any("err", err))
	}
}
