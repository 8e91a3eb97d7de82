package live

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// together is how many entities one message to an owner names.
const together = 500

// tell tells the owner of some entities, and returns of how many. This node need not be told.
func (g *group) tell(ctx context.Context) (int, error) {
	left, here := g.takeLeft()
	if here {
		return 0, nil
	}
	for some := range slices.Chunk(left, together) {
		g.unwatch(some)
	}
	due := g.pick(together, func(one *watched) bool { return one.due })
	if len(due) == 0 {
		return 0, nil
	}
	answer, err := g.ask(ctx, due)
	if err != nil {
		g.w.o.Metrics.unanswered.Inc()
		g.unanswered(due)
		return 0, err
	}
	if refused := g.answered(due, answer); refused > 0 {
		g.w.o.Metrics.refused.Add(float64(refused))
		return len(due), errNoRoom
	}
	return len(due), nil
}

var errNoRoom = fault.New(fault.Limited, "Too many entities are watched")

// ask calls the owner. A change of owner cuts it short.
func (g *group) ask(ctx context.Context, due []ident.EntityID) (*sluicepb.Watching, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.mu.Lock()
	g.stop, g.urgent = cancel, false
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.stop = nil
		g.mu.Unlock()
	}()
	key, request, err := g.message(due, func(ids []*sluicepb.EntityId) *sluicepb.CoreMessage {
		return &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_Watch{Watch: &sluicepb.WatchEntities{Node: g.w.node, Entities: ids}}}
	})
	if err != nil {
		return nil, err
	}
	value, err := g.w.o.Bus.Call(ctx, topics.Core, key, request, g.w.o.Budget)
	if err != nil {
		return nil, fmt.Errorf("ask the owner of partition %d: %w", g.partition, err)
	}
	answer := &sluicepb.CoreAnswer{}
	if err := proto.Unmarshal(value, answer); err != nil {
		return nil, fmt.Errorf("read the answer of an owner: %w", err)
	}
	return answer.GetWatching(), fault.FromProto(answer.GetFault())
}

// message is a message to the owner about entities; any of them names the partition.
func (g *group) message(entities []ident.EntityID, of func([]*sluicepb.EntityId) *sluicepb.CoreMessage) (key, value []byte, err error) {
	ids := make([]*sluicepb.EntityId, len(entities))
	for i := range entities {
		ids[i] = wireEntity(entities[i])
	}
	m := of(ids)
	m.Entity = ids[0]
	if value, err = proto.Marshal(m); err != nil {
		return nil, nil, fmt.Errorf("encode a message to an owner: %w", err)
	}
	return ids[0].GetId(), value, nil
}

// unwatch is not answered: the owner forgets by itself what it is not told.
func (g *group) unwatch(entities []ident.EntityID) {
	key, value, err := g.message(entities, func(ids []*sluicepb.EntityId) *sluicepb.CoreMessage {
		return &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_Unwatch{Unwatch: &sluicepb.UnwatchEntities{Node: g.w.node, Entities: ids}}}
	})
	if err == nil {
		err = g.w.o.Bus.Publish(bus.Message{Topic: topics.Core, Key: key, Value: value}, nil)
	}
	if err != nil {
		g.w.o.Log.Debug("tell an owner what is no longer watched", "partition", g.partition, "err", err)
	}
}

// answered notes that the owner tells of entities, and returns how many it refused. What those who watch may have missed
// is read.
func (g *group) answered(asked []ident.EntityID, answer *sluicepb.Watching) (refused int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if answer.GetEpoch() < g.epoch.Load() || g.urgent {
		g.doubt(asked)
		return 0 // somebody else owns the partition by now
	}
	if answer.GetEpoch() > g.epoch.Swap(answer.GetEpoch()) {
		for _, one := range g.entities {
			one.due = true
		}
	}
	for _, i := range answer.GetBegun() {
		if one := g.at(asked, i); one != nil {
			one.stale = one.stale || one.shown
		}
	}
	no := make(map[ident.EntityID]bool, len(answer.GetRefused()))
	for _, i := range answer.GetRefused() {
		if one := g.at(asked, i); one != nil {
			no[asked[i]] = true
			one.refuse()
		}
	}
	for _, e := range asked {
		if one := g.entities[e]; one != nil && !no[e] {
			one.stale = one.stale || one.shown && (one.unsure || one.epoch != answer.GetEpoch())
			one.due, one.unsure, one.epoch = false, false, answer.GetEpoch()
			one.answer(nil)
		}
	}
	return len(no)
}

// unanswered notes that an answer was lost: the owner's next one does not say what it began to tell of before.
func (g *group) unanswered(asked []ident.EntityID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doubt(asked)
}

// doubt is unanswered under the lock.
func (g *group) doubt(asked []ident.EntityID) {
	for _, e := range asked {
		if one := g.entities[e]; one != nil {
			one.unsure = true
		}
	}
}

func (g *group) at(asked []ident.EntityID, i uint32) *watched {
	if int(i) >= len(asked) {
		return nil
	}
	return g.entities[asked[i]]
}

// refuse ends the subscriptions that wait; what is shown already is asked for again, and read now and then.
func (w *watched) refuse() {
	if w.shown {
		w.stale = true
		return
	}
	w.answer(errNoRoom)
}
