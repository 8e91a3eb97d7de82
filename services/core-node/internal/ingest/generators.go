package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// generator is a rule node of this partition that makes messages by itself (rule.Source). That there is one is a row of
// the store; what it remembers between its messages is here, and begins anew with another owner.
type generator struct {
	Tenant     ident.TenantID `json:"tenant"`
	Originator ident.EntityID `json:"originator"`
	Chain      ident.ID       `json:"chain"`
	Node       ident.ID       `json:"node"`

	state   []byte
	due     time.Time
	running bool
	again   bool // changed while it ran
}

// generatorKind is the type of what is no message, but a generator's time.
const generatorKind = "GENERATOR_NODE_SELF_MSG"

// generatorsMost bounds the generators of a partition.
const generatorsMost = 10_000

// generatorPause is how long a generator that failed waits.
const generatorPause = 10 * time.Second

func (p *partition) generatorGroup() string { return fmt.Sprintf("generator/%d", p.lease.Partition()) }

// loadGenerators reads which generators are this partition's.
func (p *partition) loadGenerators(ctx context.Context) error {
	for row, err := range p.d.Rows.ScanRows(ctx, p.generatorGroup(), nil, nil, false) {
		if err != nil {
			return fmt.Errorf("load generators: %w", err)
		}
		g := &generator{due: p.d.Now()}
		if err := json.Unmarshal(row.Body, g); err != nil {
			return fmt.Errorf("load generators: %w", err)
		}
		p.generators[g.Node] = g
		p.generatorsChanged = true
	}
	return nil
}

// sourceChanged takes note of a node that makes messages by itself; it begins anew.
func (p *partition) sourceChanged(ctx context.Context, m coreMessage, c *sluicepb.SourceChanged) error {
	at, err := readPlace(c.GetRuleChainId(), c.GetRuleNodeId())
	if err != nil || at.Node.IsZero() {
		return fault.New(fault.Invalid, "source without a rule node")
	}
	p.d.Chains.Forget(m.tenant) // what is stored is newer than what is remembered
	g := &generator{Tenant: m.tenant, Originator: m.entity, Chain: at.Chain, Node: at.Node, due: p.d.Now()}
	if old := p.generators[g.Node]; old != nil && old.running {
		old.again = true
		return nil
	}
	if len(p.generators) >= generatorsMost {
		return fault.New(fault.Invalid, "too many generators in one partition")
	}
	body, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode a generator: %w", err)
	}
	p.generators[g.Node] = g
	p.generatorsChanged = true
	return p.steady(ctx, "store a generator", func() error {
		return p.d.Rows.ChangeRows(ctx, p.generatorGroup(), []storage.Row{{Key: g.Node[:], Body: body}}, nil, 0)
	})
}

// generate starts the generators whose time has come.
func (p *partition) generate(ctx context.Context) error {
	now := p.d.Now()
	p.generatorsChanged = true
	for _, g := range p.generators {
		if g.running || g.due.IsZero() || g.due.After(now) {
			continue
		}
		g.running = true
		f := &rule.Flight{
			Owner:    &place{record: -1, generator: g},
			Position: &rule.Position{Chain: g.Chain, Node: g.Node},
			Tick:     &rule.Tick{State: g.state},
			Message: rule.Message{
				ID: values.MessageID(ident.New()), Tenant: g.Tenant, Originator: g.Originator, Type: generatorKind,
				Time: now.UnixMilli(), ReceivedAt: now.UnixMicro(), Body: rule.TextBody("{}"),
			},
		}
		if err := p.begin(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// generated notes how a generator's turn went. A node that is no more is forgotten.
func (p *partition) generated(f *rule.Flight, g *generator) {
	p.generatorsChanged = true
	g.running, g.due, g.state = false, time.Time{}, f.Tick.State
	switch {
	case g.again:
		g.again, g.state, g.due = false, nil, p.d.Now()
	case f.Err() != nil:
		g.due = p.d.Now().Add(max(generatorPause, f.Tick.Again))
	case !f.Tick.Ran:
		delete(p.generators, g.Node)
		p.orphans = append(p.orphans, g.Node)
	case f.Tick.Again > 0:
		g.due = f.Began().Add(f.Tick.Again)
	}
}

// nextGenerator is when the next one is due; zero if none is.
func (p *partition) nextGenerator() time.Time {
	if !p.generatorsChanged {
		return p.nextGeneration
	}
	p.generatorsChanged = false
	var next time.Time
	for _, g := range p.generators {
		if !g.running && !g.due.IsZero() && (next.IsZero() || g.due.Before(next)) {
			next = g.due
		}
	}
	p.nextGeneration = next
	return next
}

// generatorDue is ready when the next generator is due; nil when none is.
func (p *partition) generatorDue() <-chan time.Time {
	next := p.nextGenerator()
	if next.IsZero() {
		return nil
	}
	p.tick.Reset(next.Sub(p.d.Now()))
	return p.tick.C
}

// forgetGenerators removes generators whose nodes are no more.
func (p *partition) forgetGenerators(ctx context.Context) error {
	keys := make([][]byte, len(p.orphans))
	for i := range p.orphans {
		keys[i] = p.orphans[i][:]
	}
	p.orphans = nil
	return p.steady(ctx, "remove generators", func() error {
		return p.d.Rows.ChangeRows(ctx, p.generatorGroup(), nil, keys, 0)
	})
}

// TellSources tells the owners of its sources' originators that chain is new, or was changed. It returns once the bus has it.
func TellSources(ctx context.Context, b bus.Publisher, chain *rule.Chain) (err error) {
	chain.EachSource(func(node ident.ID, s rule.Source) {
		of := s.Originator()
		value, failed := proto.Marshal(&sluicepb.CoreMessage{
			TenantId: chain.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: of.Type, Id: of.ID[:]},
			Body: &sluicepb.CoreMessage_Source{Source: &sluicepb.SourceChanged{RuleChainId: chain.ID[:], RuleNodeId: node[:]}},
		})
		if failed == nil && err == nil {
			err = publish(ctx, b, bus.Message{Topic: topics.Core, Key: of.ID[:], Value: value})
		}
		if err == nil {
			err = failed
		}
	})
	if err != nil {
		return fmt.Errorf("tell of a rule chain's sources: %w", err)
	}
	return nil
}
