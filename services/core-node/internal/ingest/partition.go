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
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
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
	// healthy is when the platform was waited for last, µs.
	healthy atomic.Int64
	sources []*source // of each queue of uplinks and rule messages, and of core messages

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
	traces   *trace.Log
	inHand   int
	tracked  int // devices, as published
	watches  int // of other nodes, as published
	// failed are flights that ended by their own fault and have yet to become letters.
	failed  []*rule.Flight
	letters []letter
	retries retries
	gates   map[gateOf]*gate
	// lastTenant is whose message came last, sharedAt when it was another's than the one before.
	lastTenant ident.TenantID
	sharedAt   time.Time
	passed     []*rule.Flight // let through by gates, to be started
	timers     *timers
	ringing    int     // messages of timers in hand
	rung       []timer // whose messages have their fate
	// generators are the rule nodes of this partition that make messages by themselves; orphans are those that are no more.
	generators map[ident.ID]*generator
	orphans    []ident.ID
	tick       *time.Timer
	// nextGeneration is when the next generator is due; it is found anew when generatorsChanged.
	nextGeneration    time.Time
	generatorsChanged bool
	timeouts          []timeoutChange
	answers           []answer
	requests          *requests // to devices
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
		Saver: p.saver, Stored: p.stored, Deleted: p.attributesDeleted, Finished: p.finished, Steady: p.steady,
		Chain: p.chainByID, HandOn: p.handOn, Ask: p.ask, Debug: p.d.Debug, Patient: p.patient, Now: p.d.Now,
		Slots: p.c.NodeSlots, ScriptSlots: p.c.ScriptSlots, ScriptShare: p.g.scriptShare, HandOns: p.c.HandOns, Line: p.c.Window / 4,
		Timeout: p.c.NodeTimeout, Executions: p.c.NodeExecutions, Copies: p.c.Copies,
	})
	p.traces = trace.NewLog(p.c.Trace)
	p.gates = map[gateOf]*gate{}
	p.timers = newTimers(p.d.Rows, p.lease.Partition(), p.c.Timers)
	p.generators = map[ident.ID]*generator{}
	p.tick = time.NewTimer(time.Hour)
	p.retries.failing = map[ident.TenantID]int{}
	p.tracker = state.NewTracker(p.c.State, p.d.Devices, p.d.Store, effects{p}, p.d.Now)
	p.requests = newRequests(p)
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
	p.requests.count(0, 0)
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
	if s.queue != nil {
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
			err = p.late(hard)
		case <-p.retries.due():
			err = p.retry(hard)
		case <-p.timers.wake:
		case <-p.timerDue():
			err = p.ring(hard)
		case <-p.generatorDue():
			err = p.generate(hard)
		case <-p.requests.due():
			err = p.requests.tick(hard)
		}
		if err == nil {
			err = p.settle(hard)
		}
		if err != nil {
			return err
		}
	}
}

// drain finishes what nodes with effects have begun to work on, as far as the time for it goes. The rest is given back: it was not committed.
func (p *partition) drain(hard context.Context) error {
	limited, cancel := context.WithTimeout(hard, p.c.DrainTimeout)
	defer cancel()
	p.tracker.Leave()
	if err := p.settle(limited); err != nil {
		return nil //nolint:nilerr // out of time: given back
	}
	p.engine.Quiet()
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

// resumedTogether bounds the results taken before what they save is stored: each lets another node begin, whose result may be
// there before the last one is taken.
const resumedTogether = 256

// resume takes results that are there, so that what they save is stored together.
func (p *partition) resume(ctx context.Context, r rule.Result) error {
	for n := 1; ; n++ {
		if err := p.engine.Resume(ctx, r); err != nil {
			return err
		}
		if n == resumedTogether {
			return nil
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
	pk.began = began
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
	if s.queue != nil && s.queue.ByPack() {
		p.endRound(pk, s.queue)
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
		case len(p.passed) > 0:
			err = p.launchPassed(ctx)
		case len(p.timeouts) > 0:
			err = p.applyTimeouts(ctx)
		case p.requests.unstored():
			err = p.requests.store(ctx)
		case len(p.rung) > 0:
			err = p.forgetTimers(ctx)
		case len(p.orphans) > 0:
			err = p.forgetGenerators(ctx)
		case len(p.failed) > 0 || len(p.letters) > 0:
			err = p.bury(ctx)
		default:
			p.answer()
			p.tally.publish(p.d.Metrics, &p.inHand)
			p.track(p.tracker.Len())
			p.requests.count(p.requests.desk.Pending(), p.requests.desk.Durable())
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
