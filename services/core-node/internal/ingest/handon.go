package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// handOn implements rule.Options.HandOn: the message goes to its queue, in the partition of its originator.
func (p *partition) handOn(ctx context.Context, o rule.Onward) error {
	if o.Answer != nil {
		return p.answerSession(ctx, o)
	}
	if !o.At.IsZero() {
		return p.timers.keep(ctx, o)
	}
	m := o.Message
	value, err := proto.Marshal(onwardMessage(o))
	if err != nil {
		return fmt.Errorf("encode a rule message: %w", err)
	}
	return publish(ctx, p.d.Bus, ruleRecord(p.queueNamed(o.Queue), m.Originator.ID, value))
}

// queueNamed is name, or "" for the main queue if there is none of that name.
func (p *partition) queueNamed(name string) string {
	for i := range p.d.Queues {
		if p.d.Queues[i].Name == name {
			return name
		}
	}
	return ""
}

// ruleRecord is an encoded rule message on its way to a queue.
func ruleRecord(queue string, originator ident.ID, value []byte) bus.Message {
	return bus.Message{
		Topic: topics.Queue(queue), Key: originator[:], Value: value,
		Headers: []bus.Header{{Key: topics.KindHeader, Value: []byte(topics.KindRuleMessage)}},
	}
}

// publish returns once the bus has m; while there is no room for it, it waits.
func publish(ctx context.Context, b bus.Publisher, m bus.Message) error {
	for {
		room := b.Room(m.Topic, m.Key)
		answered := make(chan error, 1)
		err := b.Publish(m, func(err error) { answered <- err })
		wait := (<-chan error)(answered)
		if errors.Is(err, bus.ErrFull) {
			wait = nil
		} else if err != nil {
			return err
		} else {
			room = nil
		}
		select {
		case err := <-wait:
			return err
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// onwardMessage is a message that goes on elsewhere, as it travels on the bus.
func onwardMessage(o rule.Onward) *sluicepb.RuleMessage {
	wire := ruleMessage(o.Message)
	wire.QueueName, wire.NodeExecutions = o.Queue, int32(o.Executions)
	if p := o.Position; p != nil {
		wire.RuleChainId, wire.RuleNodeId, wire.Relation = p.Chain[:], p.Node[:], string(p.Relation)
		for _, over := range p.Stack {
			wire.Stack = append(wire.Stack, &sluicepb.ChainFrame{RuleChainId: over.Chain[:], RuleNodeId: over.Node[:]})
		}
	}
	return wire
}

// readPosition returns where a message goes on; nil when it starts.
func readPosition(wire *sluicepb.RuleMessage) (*rule.Position, error) {
	if len(wire.GetRuleChainId()) == 0 {
		return nil, nil
	}
	p := &rule.Position{Relation: rule.Relation(wire.GetRelation())}
	at, err := readPlace(wire.GetRuleChainId(), wire.GetRuleNodeId())
	if err != nil {
		return nil, err
	}
	p.Chain, p.Node = at.Chain, at.Node
	for _, f := range wire.GetStack() {
		over, err := readPlace(f.GetRuleChainId(), f.GetRuleNodeId())
		if err != nil {
			return nil, err
		}
		p.Stack = append(p.Stack, over)
	}
	return p, nil
}

func readPlace(chain, node []byte) (p rule.Place, err error) {
	if p.Chain, err = ident.FromBytes(chain); err == nil {
		p.Node, err = ident.FromBytes(node)
	}
	if err != nil {
		return p, fmt.Errorf("parse rule message: place: %w", err)
	}
	return p, nil
}

// chainByID implements rule.Options.Chain.
func (p *partition) chainByID(ctx context.Context, tenant ident.TenantID, id ident.ID) (*rule.Chain, error) {
	var chain *rule.Chain
	err := p.steady(ctx, "find a rule chain", func() (err error) {
		chain, err = p.d.Chains.ByID(ctx, p.d.Now(), tenant, id)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, rule.ErrNoChain
	}
	return chain, err
}

// away reports whether the platform is being waited for.
func (p *partition) away() bool { return p.trouble.Load() != nil }

// sharedFor is how long a partition counts as shared after messages of two tenants came to it.
const sharedFor = 30 * time.Second

// patient implements rule.Options.Patient.
func (p *partition) patient() bool { return p.away() || p.d.Now().Sub(p.sharedAt) > sharedFor }

// meet notes whose messages come.
func (p *partition) meet(tenant ident.TenantID) {
	if tenant == p.lastTenant {
		return
	}
	if !p.lastTenant.IsZero() {
		p.sharedAt = p.d.Now()
	}
	p.lastTenant = tenant
}
