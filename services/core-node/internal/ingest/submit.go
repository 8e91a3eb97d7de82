package ingest

import (
	"context"
	"errors"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// gate holds back flights of a queue that is not to be started all at once. What waits is part of its pack, and so of
// the partition's window.
type gate struct {
	size    int // of what is started together
	started int // of those
	under   int // started, without a fate
	waiting []*rule.Flight
}

// gateOf says what passes one by one: a queue, a tenant's or an originator's messages on it.
type gateOf struct {
	queue *queue.Queue
	of    ident.EntityID
}

// queueOf is the queue f came from; what came from none is treated as if from the main one.
func (p *partition) queueOf(f *rule.Flight) *queue.Queue {
	if pk := f.Owner.(*place).pack; pk != nil && pk.source.queue != nil {
		return pk.source.queue
	}
	return &p.d.Queues[0]
}

// gateFor returns the gate f has to pass, and how many pass it together; 0 when there is none.
func (p *partition) gateFor(f *rule.Flight) (gateOf, int) {
	q := p.queueOf(f)
	if f.Owner.(*place).record < 0 {
		return gateOf{}, 0
	}
	switch q.Submit {
	case queue.Batch:
		return gateOf{queue: q}, q.BatchSize
	case queue.Sequential:
		return gateOf{queue: q}, 1
	case queue.SequentialByTenant:
		return gateOf{q, f.Message.Tenant.Entity()}, 1
	case queue.SequentialByOriginator:
		return gateOf{q, f.Message.Originator}, 1
	}
	return gateOf{}, 0
}

// begin takes f on and starts it, or has it wait until its queue's order lets it. Its Owner is its *place, whose pack waits for it.
func (p *partition) begin(ctx context.Context, f *rule.Flight) error {
	p.tally.taken++
	p.meet(f.Message.Tenant)
	if at := f.Owner.(*place); at.pack != nil {
		at.pack.open++
		if at.record >= 0 {
			at.pack.running++
		}
	}
	key, size := p.gateFor(f)
	if size == 0 {
		return p.launch(ctx, f)
	}
	g := p.gates[key]
	if g == nil {
		g = &gate{size: size}
		p.gates[key] = g
	}
	if g.started == g.size || len(g.waiting) > 0 {
		g.waiting = append(g.waiting, f)
		return nil
	}
	g.started++
	g.under++
	return p.launch(ctx, f)
}

// pass takes f, which has its fate, out of its gate; who is next is started by the next settle.
func (p *partition) pass(f *rule.Flight) {
	key, size := p.gateFor(f)
	if size == 0 {
		return
	}
	g := p.gates[key]
	if g.under--; g.under > 0 {
		return
	}
	n := min(g.size, len(g.waiting))
	if n == 0 {
		delete(p.gates, key)
		return
	}
	g.started, g.under = n, n
	p.passed = append(p.passed, g.waiting[:n]...)
	g.waiting = append(g.waiting[:0], g.waiting[n:]...)
}

// launchPassed starts what gates have let through.
func (p *partition) launchPassed(ctx context.Context) error {
	flights := p.passed
	p.passed = nil
	for _, f := range flights {
		if err := p.launch(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// introduce fills in the profile of a device whose message came without one: it decides on the chain. A device that is gone
// has none.
func (p *partition) introduce(ctx context.Context, f *rule.Flight) error {
	m := &f.Message
	if !m.Profile.IsZero() {
		return nil
	}
	if m.Originator.Type == ident.Asset {
		return p.introduceAsset(ctx, m)
	}
	if m.Originator.Type != ident.Device {
		return nil
	}
	d, err := p.device(ctx, m.Tenant, ident.DeviceID{ID: m.Originator.ID})
	if isGone(err) {
		return nil
	}
	if err == nil {
		m.Profile, m.Customer = d.Profile, d.Customer
	}
	return err
}

func (p *partition) introduceAsset(ctx context.Context, m *rule.Message) error {
	return p.steady(ctx, "read an asset", func() error {
		a, err := p.d.Assets.Get(ctx, m.Tenant, m.Originator.ID)
		if isGone(err) {
			return nil
		}
		if err == nil {
			m.Profile, m.Customer = a.Profile, a.Customer
		}
		return err
	})
}

// launch finds f's chain and starts it.
func (p *partition) launch(ctx context.Context, f *rule.Flight) error {
	f.Owner.(*place).running = true
	if f.Position == nil {
		if err := p.introduce(ctx, f); err != nil {
			return err
		}
		chain, err := p.chain(ctx, f.Message.Tenant, f.Message.Profile)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, errLease) {
				return err
			}
			f.Attempts++
			f.Fail("rule chain", err)
			p.conclude(f)
			return nil
		}
		f.Chain = chain
	}
	return p.engine.Start(ctx, f)
}
