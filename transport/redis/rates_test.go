package redis

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/transport/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a Client that hears from Redis.
func open(t *testing.T, server *miniredis.Miniredis, mode string) *Client {
	t.Helper()
	c := config(t, "redis://"+server.Addr(), mode)
	c.Timeout, c.Pause = 5*time.Second, time.Millisecond
	metrics, err := NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(c, slog.New(slog.DiscardHandler), metrics)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	awaitUp(t, r)
	return r
}

func awaitUp(t *testing.T, r *Client) {
	t.Helper()
	for began := time.Now(); r.away.Load(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("Redis is not noticed")
		}
	}
}

// process is one process's bucket of a rate that all share.
type process struct {
	meter  *limit.Meter
	ledger *limit.Ledger
}

func newProcess(rate limit.Rate, now time.Time) process {
	p := process{limit.NewMeter(limit.Rates{Telemetry: rate}, now), limit.NewLedger(10)}
	p.meter.Share(p.ledger, 't', [16]byte{1})
	return p
}

// send takes n, one at a time, and returns how many passed.
func (p process) send(now time.Time, n int) (passed int) {
	for range n {
		if p.meter.Telemetry(now, 1) {
			passed++
		}
	}
	return passed
}

func (p process) round(t *testing.T, r *Client) {
	t.Helper()
	if err := r.Charge(t.Context(), p.ledger.Read()); err != nil {
		t.Fatal(err)
	}
}

// TestChargeKeepsOneRate goes through 60 s of Redis's clock: two processes that always want more
// pass together what one would, and at most two bursts more in between.
func TestChargeKeepsOneRate(t *testing.T) {
	server := miniredis.RunT(t)
	r := open(t, server, "standalone")
	rate := limit.Rate{{Capacity: 50, Period: 10 * time.Second}, {Capacity: 600, Period: time.Hour}}
	began := time.Now()
	a, b := newProcess(rate, began), newProcess(rate, began)
	total := 0
	for step := range 600 {
		now := began.Add(time.Duration(step) * 100 * time.Millisecond)
		server.SetTime(now)
		total += a.send(now, 20) + b.send(now, 20)
		a.round(t, r)
		b.round(t, r)
	}
	fair := 50 + 50*6
	if total < fair-20 || total > fair+50 {
		t.Errorf("%d passed in a minute, one process would have passed %d", total, fair)
	}
}

func TestChargeSurvivesAFlush(t *testing.T) {
	for _, mode := range []string{"standalone", "cluster"} {
		server := miniredis.RunT(t)
		r := open(t, server, mode)
		p := newProcess(limit.Rate{{Capacity: 5, Period: time.Hour}}, time.Now())
		p.send(time.Now(), 1)
		p.round(t, r)
		server.FlushAll()
		p.send(time.Now(), 1)
		p.round(t, r)
		other := newProcess(limit.Rate{{Capacity: 5, Period: time.Hour}}, time.Now())
		other.send(time.Now(), 1)
		other.round(t, r)
		if left := other.send(time.Now(), 10); left != 3 {
			t.Errorf("%s: %d more pass, want 3", mode, left)
		}
		if len(server.Keys()) != 1 || server.TTL(server.Keys()[0]) <= 0 {
			t.Errorf("%s: keys %v, the first stays for %v", mode, server.Keys(), server.TTL(server.Keys()[0]))
		}
	}
}

func TestAwayUntilItAnswers(t *testing.T) {
	server := miniredis.RunT(t)
	r := open(t, server, "standalone")
	ctx := t.Context()
	if err := r.Put(ctx, ":x", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if value, left, err := r.Get(ctx, ":x"); string(value) != "v" || left <= 0 || err != nil {
		t.Errorf("%q %v %v", value, left, err)
	}
	if value, _, err := r.Get(ctx, ":y"); value != nil || err != nil {
		t.Errorf("what is not there is %q %v", value, err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, _, err := r.Get(ended, ":x"); err == nil || r.away.Load() {
		t.Errorf("one who gave up: %v, away %v", err, r.away.Load())
	}
	server.SetError("LOADING Redis is loading")
	if _, _, err := r.Get(ctx, ":x"); err == nil || !r.away.Load() {
		t.Errorf("a refusal: %v, away %v", err, r.away.Load())
	}
	server.SetError("")
	awaitUp(t, r)
	if _, _, err := r.Get(ctx, ":x"); err != nil {
		t.Error(err)
	}
}
