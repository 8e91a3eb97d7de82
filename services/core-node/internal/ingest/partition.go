package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// errLease ends a partition whose lease is over: what it has in hand is another's now.
var errLease = errors.New("the lease is over")

// partition is one owned partition number. Everything below mailbox belongs to the goroutine of run.
type partition struct {
	g          *Ingest
	c          Config
	d          Deps
	lease      ring.Lease
	log        *slog.Logger
	partitions int

	// trouble is what the partition is waiting for, nil while it goes on.
	trouble atomic.Pointer[error]
	sources [2]*source // of uplinks and rule messages, and of core messages

	// mailbox: how others reach the owner.
	packs   chan *pack
	adopted chan []*state.Device
	changes chan change
	failure chan error

	audience *live.Audience
	saver    *telemetry.Saver
	engine   *rule.Engine
	tracker  *state.Tracker
	current  *pack // the one being handled, nil for what comes by itself
	memo     memo
	tally    tally
	inHand   int
	tracked  int // devices, as published
	watches  int // of other nodes, as published
	// failed are flights that ended by their own fault and have yet to become letters.
	failed   []*rule.Flight
	letters  []letter
	retries  retries
	timeouts []timeoutChange
	answers  []answer
}

type change struct {
	tenant ident.TenantID
	device ident.DeviceID
}

// memo is the chain found last: most of a pack takes the same.
type memo struct {
	tenant  ident.TenantID
	profile ident.ID
	chain   *rule.Chain
}

func (p *partition) build(stamp int64) {
	p.packs = make(chan *pack, 1)
	p.adopted = make(chan []*state.Device)
	p.changes = make(chan change, 1024)
	p.failure = make(chan error, 8)
	p.audience = live.NewAudience(live.AudienceOptions{
		Local: p.d.Hub, Bus: p.d.Bus, Node: p.g.node(), Partition: p.lease.Partition(), Epoch: p.lease.Epoch(),
		Most: p.c.Watches, Lost: p.d.Metrics.updatesLost.Inc,
	})
	p.saver = telemetry.NewSaver(p.d.Store, p.audience, p.d.Now, stamp)
	p.engine = rule.NewEngine(rule.Options{
		Saver: p.saver, Stored: p.stored, Finished: p.finished, Steady: p.steady,
		Slots: p.c.NodeSlots, Timeout: p.c.NodeTimeout, Executions: p.c.NodeExecutions,
	})
	p.retries.failing = map[ident.TenantID]int{}
	p.tracker = state.NewTracker(p.c.State, p.d.Devices, p.d.Store, effects{p}, p.d.Now)
}

// owns reports whether what is keyed by device comes to this partition.
func (p *partition) owns(device ident.DeviceID) bool {
	return bus.Partition(device.ID[:], p.partitions) == p.lease.Partition()
}

// run owns the partition until ctx ends and what is in hand is finished, or given back.
func (p *partition) run(ctx context.Context) error {
	// hard outlives ctx for as long as a stop may take.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	soft, stop := context.WithCancel(ctx)
	var readers, commits sync.WaitGroup
	stopCommits := make(chan struct{})
	for _, s := range p.sources {
		readers.Go(func() { p.report(s.read(soft, p.c.PackRecords, p.decoder(s), p.packs)) })
		commits.Go(func() { p.report(s.commits(hard, p.c.CommitInterval, stopCommits, p.committer(s))) })
	}
	readers.Go(func() { p.report(p.g.census.load(soft, p)) })
	readers.Go(func() { p.announce(soft) })

	err := p.loop(soft, hard)
	stop()
	readers.Wait()
	if err == nil {
		err = p.drain(hard)
	}
	if err != nil {
		cancel()
	}
	close(stopCommits)
	commits.Wait()
	cancel()
	p.engine.Close()
	p.tally.publish(p.d.Metrics, &p.inHand)
	p.d.Metrics.givenBack.Add(float64(p.inHand))
	p.d.Metrics.inHand.Sub(float64(p.inHand))
	p.track(0)
	p.d.Metrics.watches.Sub(float64(p.watches))
	p.clearTrouble()
	return errors.Join(err, p.closeReaders())
}

func (p *partition) report(err error) {
	if err != nil {
		select {
		case p.failure <- err:
		default:
		}
	}
}

func (p *partition) closeReaders() error {
	var errs []error
	for _, s := range p.sources {
		if s != nil {
			errs = append(errs, s.reader.Close())
		}
	}
	return errors.Join(errs...)
}

func (p *partition) decoder(s *source) func(*pack, []bus.Record) {
	if s.topic == topics.RuleEngine {
		return (*pack).fill
	}
	return (*pack).hold
}

func (p *partition) committer(s *source) func(context.Context, int64, int64) error {
	return func(ctx context.Context, offset, stamp int64) error {
		return p.steady(ctx, "commit "+s.topic, func() error {
			if !p.lease.Valid() {
				return errLease
			}
			err := s.reader.Commit(ctx, offset, note(p.lease.Epoch(), stamp))
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
			}
			return err
		})
	}
}

// loop takes on what comes, until soft ends.
func (p *partition) loop(soft, hard context.Context) error {
	check := time.NewTicker(p.c.State.Check)
	defer check.Stop()
	tend := time.NewTicker(time.Second)
	defer tend.Stop()
	for {
		var err error
		select {
		case <-soft.Done():
			return nil
		case err = <-p.failure:
		case pk := <-p.packs:
			err = p.handle(hard, pk)
		case r := <-p.engine.Results():
			err = p.resume(hard, r)
		case devices := <-p.adopted:
			p.tracker.Adopt(devices)
		case c := <-p.changes:
			err = p.renew(hard, c)
		case <-check.C:
			p.tracker.Check()
		case <-tend.C:
			p.audience.Tend(p.d.Now())
			p.countWatches()
		case <-p.retries.due():
			err = p.retry(hard)
		}
		if err == nil {
			err = p.settle(hard)
		}
		if err != nil {
			return err
		}
	}
}

// drain finishes what is in hand, as far as the time for it goes. The rest is given back: it was not committed.
func (p *partition) drain(hard context.Context) error {
	limited, cancel := context.WithTimeout(hard, p.c.DrainTimeout)
	defer cancel()
	for p.engine.Busy() {
		select {
		case r := <-p.engine.Results():
			if err := p.resume(limited, r); err != nil {
				return nil //nolint:nilerr // out of time: given back
			}
			if err := p.settle(limited); err != nil {
				return nil //nolint:nilerr // as above
			}
		case <-limited.Done():
			return nil
		}
	}
	return nil
}

// resume takes all results there are, so that what they save is stored together.
func (p *partition) resume(ctx context.Context, r rule.Result) error {
	for {
		if err := p.engine.Resume(ctx, r); err != nil {
			return err
		}
		select {
		case r = <-p.engine.Results():
		default:
			return nil
		}
	}
}

// handle takes pk on and runs it as far as it goes before the store has what it saves.
func (p *partition) handle(ctx context.Context, pk *pack) error {
	if !p.lease.Valid() {
		return errLease
	}
	began := p.d.Now()
	s := pk.source
	s.inOrder = append(s.inOrder, pk)
	p.count(pk)
	p.current, p.memo = pk, memo{}
	take := p.takeUplink
	if s.topic == topics.Core {
		take = p.takeCore
	}
	for i := range pk.records {
		if err := take(ctx, pk, i); err != nil {
			return err
		}
		if p.saver.Bytes() >= p.c.PackBytes {
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
	}
	err := p.settle(ctx)
	pk.open--
	p.current = nil
	p.d.Metrics.pack.Observe(float64(len(pk.records)))
	p.d.Metrics.flush.Observe(p.d.Now().Sub(began).Seconds())
	return err
}

func (p *partition) count(pk *pack) {
	topic := pk.source.topic
	if before := p.g.seenBefore(topic, p.lease.Partition()); pk.records[0].Offset < before {
		p.d.Metrics.redelivered.Add(float64(min(before-pk.records[0].Offset, int64(len(pk.records)))))
	}
	p.g.saw(topic, p.lease.Partition(), pk.next)
}

func (p *partition) flush(ctx context.Context) error {
	if !p.lease.Valid() {
		return errLease
	}
	return p.engine.Flush(ctx)
}

// settle makes everything durable that was caused so far, and lets what is done with be committed.
func (p *partition) settle(ctx context.Context) error {
	for {
		var err error
		switch {
		case p.engine.Waiting():
			err = p.flush(ctx)
		case len(p.timeouts) > 0:
			err = p.applyTimeouts(ctx)
		case len(p.failed) > 0 || len(p.letters) > 0:
			err = p.bury(ctx)
		default:
			p.answer()
			p.tally.publish(p.d.Metrics, &p.inHand)
			p.track(p.tracker.Len())
			for _, s := range p.sources {
				s.advance(p.saver.Stamp())
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// track publishes how many devices are in memory.
func (p *partition) track(devices int) {
	if devices != p.tracked {
		p.d.Metrics.devices.Add(float64(devices - p.tracked))
		p.tracked = devices
	}
}

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

func (p *partition) clearTrouble() { p.trouble.Store(nil) }
