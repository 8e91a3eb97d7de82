package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Bus is what Watches needs of a bus.
type Bus interface {
	bus.Publisher
	bus.Caller
	bus.Inbox
}

// Values is what Watches reads of a store.
type Values interface {
	Latest(ctx context.Context, e ident.EntityID, keys []string) ([]storage.Entry, error)
	Attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) ([]storage.Entry, error)
	Range(ctx context.Context, e ident.EntityID, key string, within storage.Span, newestFirst bool) iter.Seq2[storage.Point, error]
}

// Options is what Watches works with. All are required.
type Options struct {
	Hub    *Hub
	Bus    Bus
	Values Values
	// Partitions is how many partitions each owned topic has.
	Partitions int
	// Here reports whether this node owns a partition now.
	Here func(partition int) bool
	// Budget is how long a subscription waits for the owner, and how long the owner has to answer.
	Budget  time.Duration
	Metrics *Metrics
	Log     *slog.Logger
}

// Watches is what this node watches. For entities of its own partitions it is the Hub. Owners of others are told, told
// again every minute and whenever the owner changes; what is saved while nobody tells is read from the store, once the
// owner does. So a value saved may be delivered twice, and the newest is never missed. It becomes the reader of the
// bus's inbox. Safe for concurrent use.
type Watches struct {
	o      Options
	node   string
	groups []*group
}

var _ Subscriber = (*Watches)(nil)

// NewWatches returns Watches that tell no owner before Run.
func NewWatches(o Options) *Watches {
	w := &Watches{o: o, node: strings.TrimPrefix(o.Bus.ReplyTopic(), topics.CoreResponses), groups: make([]*group, o.Partitions)}
	for i := range w.groups {
		w.groups[i] = newGroup(w, i)
	}
	o.Bus.OnMessage(w.onMessage)
	return w
}

// Run keeps owners informed until ctx ends. They forget this node's watches by themselves.
func (w *Watches) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, g := range w.groups {
		running.Go(func() { g.run(ctx) })
	}
	running.Wait()
	return nil
}

func (w *Watches) group(e ident.EntityID) *group {
	return w.groups[bus.Partition(e.ID[:], len(w.groups))]
}

// Watch implements Subscriber.
func (w *Watches) Watch(e ident.EntityID, deliver func(Update)) (stop func()) {
	silence := w.o.Hub.Watch(e, deliver)
	g := w.group(e)
	g.enter(e)
	return sync.OnceFunc(func() {
		silence()
		g.leave(e)
	})
}

// Settle implements Subscriber.
func (w *Watches) Settle(ctx context.Context, e ident.EntityID) error {
	g := w.group(e)
	return g.settle(ctx, e, w.o.Budget)
}

// Owner takes note of a partition's new owner: it is told of this node's watches there, and what was saved before it
// knew is read and delivered.
func (w *Watches) Owner(o *sluicepb.PartitionOwner) {
	if n := int(o.GetPartition()); n >= 0 && n < len(w.groups) {
		w.groups[n].owned(o.GetNode() == w.node, o.GetEpoch())
	}
}

// Renew has all owners told at once, because an announcement of an owner may have been missed.
func (w *Watches) Renew() {
	for _, g := range w.groups {
		g.renew()
	}
}

// onMessage delivers what owners tell.
func (w *Watches) onMessage(r bus.Record) {
	updates, n, err := w.read(r.Value)
	if err != nil {
		w.o.Metrics.unreadable.Inc()
		w.o.Log.Warn("live updates that cannot be read", "offset", r.Offset, "err", err)
		return
	}
	w.o.Metrics.received.Add(float64(n))
	w.o.Hub.Publish(updates)
}

var errNoPartition = errors.New("no such partition")

// read decodes what is watched of a message of n updates.
func (w *Watches) read(data []byte) (updates []Update, n int, err error) {
	var m sluicepb.LiveUpdates
	if err := unmarshal(data, &m); err != nil {
		return nil, 0, err
	}
	if m.GetPartition() < 0 || int(m.GetPartition()) >= len(w.groups) {
		return nil, 0, fmt.Errorf("partition %d: %w", m.GetPartition(), errNoPartition)
	}
	g := w.groups[m.GetPartition()]
	if m.GetEpoch() < g.epoch.Load() {
		w.o.Metrics.outdated.Add(float64(len(m.GetUpdates())))
		return nil, 0, nil
	}
	if m.GetMissed() {
		g.missed()
	}
	for _, wire := range m.GetUpdates() {
		u, err := fromWire(wire)
		if err != nil {
			return nil, 0, err
		}
		if w.o.Hub.Watched(u.Entity) {
			updates = append(updates, u)
		}
	}
	return updates, len(m.GetUpdates()), nil
}
