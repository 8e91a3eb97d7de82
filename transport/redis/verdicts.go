package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	driver "github.com/redis/go-redis/v9"
)

// Get returns what is kept under name and how long it stays; nil when there is nothing. An error
// comes at once (ErrAway) or within the time-out.
func (r *Client) Get(ctx context.Context, name string) (value []byte, left time.Duration, err error) {
	began := time.Now()
	err = r.do(ctx, func(ctx context.Context) error {
		// Two commands about one key: they work in a cluster too.
		pipe := r.driver.Pipeline()
		get, stays := pipe.Get(ctx, r.config.Prefix+name), pipe.PTTL(ctx, r.config.Prefix+name)
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, driver.Nil) {
			return err
		}
		if value, err = get.Bytes(); err != nil && !errors.Is(err, driver.Nil) {
			return err
		}
		left = max(0, stays.Val())
		return nil
	})
	if !errors.Is(err, ErrAway) {
		r.metrics.latency.Observe(time.Since(began).Seconds())
	}
	if err != nil {
		return nil, 0, fmt.Errorf("get from redis: %w", err)
	}
	return value, left, nil
}

// Put keeps value under name for as long as the settings say.
func (r *Client) Put(ctx context.Context, name string, value []byte) error {
	err := r.do(ctx, func(ctx context.Context) error {
		return r.driver.Set(ctx, r.config.Prefix+name, value, r.config.Fresh).Err()
	})
	if err != nil {
		return fmt.Errorf("put into redis: %w", err)
	}
	return nil
}
