package ingest

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
)

// watch has another node told of entities. The answer goes out when everything saved before is stored, so that the
// node then reads what it is not told.
func (p *partition) watch(w *sluicepb.WatchEntities) (*sluicepb.CoreAnswer, error) {
	entities, err := p.watched(w.GetNode(), w.GetEntities())
	if err != nil {
		return nil, err
	}
	answered := &sluicepb.CoreAnswer{Watching: p.audience.Watch(w.GetNode(), entities, p.d.Now())}
	p.countWatches()
	return answered, nil
}

func (p *partition) unwatch(w *sluicepb.UnwatchEntities) error {
	entities, err := p.watched(w.GetNode(), w.GetEntities())
	if err != nil {
		return err
	}
	p.audience.Unwatch(w.GetNode(), entities)
	p.countWatches()
	return nil
}

// watched reads whose watch of what; all of it is to be in this partition.
func (p *partition) watched(node string, wire []*sluicepb.EntityId) ([]ident.EntityID, error) {
	if node == "" {
		return nil, fault.New(fault.Invalid, "a watch of no node")
	}
	entities := make([]ident.EntityID, len(wire))
	for i := range wire {
		e, err := live.ReadEntity(wire[i])
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "read a watch", err)
		}
		if bus.Partition(e.ID[:], p.partitions) != p.lease.Partition() {
			return nil, fault.New(fault.Invalid, "a watch of an entity of another partition")
		}
		entities[i] = e
	}
	return entities, nil
}

// countWatches publishes how many watches of other nodes there are.
func (p *partition) countWatches() {
	p.d.Metrics.watches.Add(float64(p.audience.Len() - p.watches))
	p.watches = p.audience.Len()
}

// announce makes known who owns the partition now. It goes on until the bus has it, or ctx ends.
func (p *partition) announce(ctx context.Context) {
	value, err := proto.Marshal(&sluicepb.EntityEvent{Owner: &sluicepb.PartitionOwner{
		Partition: int32(p.lease.Partition()), Partitions: int32(p.partitions), Epoch: p.lease.Epoch(), Node: p.g.node(),
	}})
	if err != nil {
		p.log.Error("announce the partition's owner", "err", err)
		return
	}
	m := bus.Message{Topic: topics.Events, Key: []byte("partition " + strconv.Itoa(p.lease.Partition())), Value: value}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		acknowledged := make(chan error, 1)
		err := p.d.Bus.Publish(m, func(err error) { acknowledged <- err })
		if err == nil {
			select {
			case err = <-acknowledged:
			case <-ctx.Done():
				return
			}
		}
		if err == nil {
			return
		}
		p.log.Debug("announce the partition's owner", "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
