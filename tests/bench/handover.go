package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/tests/load"
)

const (
	fleetPartitions = 24
	// probeInterval is how often each of the probes sends: it is the error of what is measured. All together stay far below what
	// a small Cassandra stores of messages that come one by one.
	probeInterval = 50 * time.Millisecond
)

// killRow is row h: what the devices of a dead core node wait for.
func (b *bench) killRow() row {
	return row{
		id: "h1", title: "kill -9 of one of 3 core nodes (T = 2 s) → the last device's next reading at a WebSocket", unit: "ms", less: true,
		floors: map[string]float64{"": milliseconds(session) + 1000}, aims: map[string]float64{"": milliseconds(session) + 250},
		sides: []side{{"24 probes, one per partition", b.handedOver(func(m *member) error { return m.kill() })}},
	}
}

// leaveRow is row h's planned stop.
func (b *bench) leaveRow() row {
	return row{
		id: "h2", title: "SIGTERM to one of 3 core nodes → the longest any device's readings are not seen at a WebSocket", unit: "ms", less: true,
		floors: map[string]float64{"": 500}, aims: map[string]float64{"": 200},
		sides: []side{{"24 probes, one per partition", b.handedOver(func(m *member) error { return m.cmd.Process.Signal(syscall.SIGTERM) })}},
	}
}

// handedOver measures what end of a core node does to devices that go on sending: the longest time, of all, from then on in
// which nothing sent after it arrives.
func (b *bench) handedOver(end func(*member) error) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		f, err := b.startFleet(ctx, dir, crew{"core-node", "core-node", "core-node", "mqtt-transport"})
		if err != nil {
			return 0, err
		}
		p, err := f.probes(ctx)
		if err != nil {
			return 0, errors.Join(err, f.end())
		}
		ended, gap, err := p.watch(ctx, f, end)
		if ended != nil {
			err = errors.Join(err, ended.stop())
		}
		return milliseconds(gap), errors.Join(err, f.end())
	}
}

// probes are devices, one in each partition.
type probes struct {
	tokens, ids []string
}

func (f *fleet) probes(ctx context.Context) (*probes, error) {
	if err := f.logIn(ctx); err != nil {
		return nil, err
	}
	p := f.installed.parts
	if p.probes != nil {
		return p.probes, nil
	}
	found := &probes{tokens: make([]string, fleetPartitions), ids: make([]string, fleetPartitions)}
	all := make([]int, fleetPartitions)
	for i := range all {
		all[i] = i
	}
	for n, missing := 0, fleetPartitions; missing > 0; n++ {
		token := "probe-" + strconv.Itoa(n)
		id, err := f.addDevice(ctx, token)
		if err != nil {
			return nil, fmt.Errorf("add a probe: %w", err)
		}
		key, err := bytesOf(id)
		if err != nil {
			return nil, err
		}
		at := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, all...)
		if found.ids[at] == "" {
			found.tokens[at], found.ids[at] = token, id
			missing--
		}
	}
	p.probes = found
	return found, nil
}

// bytesOf returns the sixteen bytes of an id, by which records are keyed.
func bytesOf(id string) ([]byte, error) {
	hex := strings.ReplaceAll(id, "-", "")
	key := make([]byte, 0, 16)
	for i := 0; i+1 < len(hex); i += 2 {
		b, err := strconv.ParseUint(hex[i:i+2], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("id %s: %w", id, err)
		}
		key = append(key, byte(b))
	}
	return key, nil
}

const (
	beforeEnd = 4 * time.Second
	afterEnd  = 8 * time.Second
)

// watch has the probes send, ends a core node, and returns it with the longest gap.
func (p *probes) watch(ctx context.Context, f *fleet, end func(*member) error) (ended *member, gap time.Duration, err error) {
	socket, err := f.subscribe(ctx, p.ids...)
	if err != nil {
		return nil, 0, fmt.Errorf("subscribe: %w", err)
	}
	socket.SetReadLimit(1 << 20)
	ctx, cancel := context.WithTimeout(ctx, beforeEnd+afterEnd)
	defer cancel()
	failed := make([]error, len(p.tokens))
	var sending sync.WaitGroup
	for i, token := range p.tokens {
		sending.Go(func() { failed[i] = probe(ctx, f.mqtt, token) })
	}
	seen := &arrivals{last: make([]time.Time, len(p.tokens)), gaps: make([]time.Duration, len(p.tokens))}
	var watching sync.WaitGroup
	var watchErr error
	watching.Go(func() { watchErr = seen.follow(ctx, func() (int, time.Time, error) { return nextSentBy(ctx, socket) }) })
	select {
	case <-time.After(beforeEnd):
	case <-ctx.Done():
	}
	seen.begin(time.Now())
	ended = f.take("core-node")
	err = end(ended)
	watching.Wait()
	sending.Wait()
	_ = socket.CloseNow() // there is nobody to take leave of
	gap, which, missing := seen.longest()
	fmt.Fprintf(os.Stderr, "     longest at partition %d; gaps ms: %s\n", which, seen)
	if missing {
		err = errors.Join(err, errors.New("a probe was not seen any more"))
	}
	return ended, gap, errors.Join(append(failed, err, watchErr)...)
}

// probe sends the time every probeInterval until ctx ends.
func probe(ctx context.Context, address, token string) error {
	device, err := load.Connect(ctx, address, token)
	if err != nil {
		return err
	}
	defer device.Close()
	ticks := time.NewTicker(probeInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		if err := device.Publish([]byte(`{"sent":` + strconv.FormatInt(time.Now().UnixNano(), 10) + `}`)); err != nil {
			return err
		}
	}
}

// arrivals is when readings of each probe came. Safe for concurrent use.
type arrivals struct {
	mu    sync.Mutex
	since time.Time // 0: gaps do not count yet
	last  []time.Time
	gaps  []time.Duration
}

// begin counts gaps from at on.
func (a *arrivals) begin(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since = at
	for i := range a.last {
		a.last[i] = at
	}
}

// follow notes what next returns until ctx ends.
func (a *arrivals) follow(ctx context.Context, next func() (command int, sent time.Time, err error)) error {
	for {
		command, sent, err := next()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // reading ended as told
		}
		if err != nil {
			return fmt.Errorf("read updates: %w", err)
		}
		a.mu.Lock()
		now := time.Now()
		if !a.since.IsZero() && !sent.Before(a.since) {
			a.gaps[command-1] = max(a.gaps[command-1], now.Sub(a.last[command-1]))
			a.last[command-1] = now
		}
		a.mu.Unlock()
	}
}

// longest returns the longest gap of all, and whether a probe's is not over.
func (a *arrivals) longest() (gap time.Duration, which int, missing bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for i := range a.gaps {
		if a.gaps[i] > gap {
			gap, which = a.gaps[i], i
		}
		missing = missing || now.Sub(a.last[i]) > time.Second
	}
	return gap, which, missing
}

// String is all gaps, in milliseconds.
func (a *arrivals) String() string {
	var all []string
	for _, gap := range a.gaps {
		all = append(all, strconv.FormatInt(gap.Milliseconds(), 10))
	}
	return strings.Join(all, " ")
}
