package redis

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	driver "github.com/redis/go-redis/v9"

	"github.com/sluice-iot/sluice/transport/limit"
)

// charge takes what a process spent from the bucket of the whole fleet: a token bucket that may go
// into debt, since what it is told of has happened. KEYS[1] is the bucket, ARGV what was spent and
// then capacity and period (ms) of every window. It returns what is left in each. Redis's clock is the one
// that counts; a key that is gone is a full bucket, and a full bucket needs no key.
var charge = driver.NewScript(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local spent, windows = tonumber(ARGV[1]), (#ARGV - 1) / 2
local was = {}
for number in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do was[#was + 1] = tonumber(number) end
if #was ~= windows + 1 then was = {now} end
local passed = math.max(0, now - was[1])
local left, keep, refilled = {}, {string.format('%.17g', now)}, 0
for i = 1, windows do
  local capacity, period = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local tokens = math.min(capacity, (was[i + 1] or capacity) + capacity * passed / period)
  tokens = math.min(capacity, tokens - spent)
  left[i] = string.format('%.17g', tokens)
  keep[i + 1] = left[i]
  refilled = math.max(refilled, (capacity - tokens) * period / capacity)
end
redis.call('SET', KEYS[1], table.concat(keep, ' '), 'PX', math.ceil(refilled) + 1)
return left
`)

// Charge tells Redis what this process spent and every usage's bucket what is left for the whole
// fleet, in one round trip. After an error each process limits alone; what was spent is not told again.
func (r *Client) Charge(ctx context.Context, usages []limit.Usage) error {
	unknown, err := r.charge(ctx, usages, charge.EvalSha)
	if err == nil && len(unknown) > 0 {
		// A node that is new, or was flushed with its scripts, is told what to run.
		_, err = r.charge(ctx, unknown, charge.Eval)
	}
	if err != nil {
		return fmt.Errorf("charge rates: %w", err)
	}
	return nil
}

// charge returns the usages whose node does not know the script; all others are settled.
func (r *Client) charge(ctx context.Context, usages []limit.Usage, run runner) (unknown []limit.Usage, err error) {
	err = r.do(ctx, func(ctx context.Context) error {
		pipe := r.driver.Pipeline()
		replies := make([]*driver.Cmd, len(usages))
		for i := range usages {
			key, args := r.bucket(&usages[i])
			replies[i] = run(ctx, pipe, key, args...)
		}
		if _, err := pipe.Exec(ctx); err != nil && !driver.HasErrorPrefix(err, "NOSCRIPT") {
			return err
		}
		now := time.Now()
		for i, reply := range replies {
			if driver.HasErrorPrefix(reply.Err(), "NOSCRIPT") {
				unknown = append(unknown, usages[i])
				continue
			}
			left, err := reply.Float64Slice()
			if err != nil {
				return err
			}
			usages[i].Settle(now, left)
		}
		return nil
	})
	return unknown, err
}

// runner is a way to run a script.
type runner func(ctx context.Context, over driver.Scripter, keys []string, args ...any) *driver.Cmd

// bucket is the key of a usage's bucket, and what the script is told of it.
func (r *Client) bucket(u *limit.Usage) (key []string, args []any) {
	name := append([]byte{u.Name.Level, u.Name.Kind}, u.Name.ID[:]...)
	args = append(args, strconv.FormatFloat(u.Spent, 'g', -1, 64))
	for _, w := range u.Rate {
		args = append(args, w.Capacity, w.Period.Milliseconds())
	}
	return []string{r.config.Prefix + ":r:" + base64.RawURLEncoding.EncodeToString(name)}, args
}
