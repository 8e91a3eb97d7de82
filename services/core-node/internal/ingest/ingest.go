package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
)

// Ingest runs the partitions this node owns. Safe for concurrent use.
type Ingest struct {
	c Config
	d Deps

	census     *census
	transports transports

	mu      sync.Mutex
	running map[int]*partition
	// seen is the offset after the last record this process was ever given, by topic and partition.
	seen map[topicPartition]int64
}

type topicPartition struct {
	topic     string
	partition int
}

// New returns an Ingest that owns nothing yet.
func New(c Config, d Deps) *Ingest {
	return &Ingest{c: c, d: d, census: newCensus(d.Devices), running: map[int]*partition{}, seen: map[topicPartition]int64{}}
}

// Own processes the partition lease is for until ctx ends and what is in hand is finished and committed,
// or until the lease is over, when what is in hand is given back. An error means that the partition
// cannot go on here.
func (g *Ingest) Own(ctx context.Context, lease ring.Lease) error {
	p, err := g.open(ctx, lease)
	if ctx.Err() != nil {
		return p.abandon(err)
	}
	if err != nil {
		return fmt.Errorf("open partition %d: %w", lease.Partition(), err)
	}
	g.mu.Lock()
	g.running[lease.Partition()] = p
	g.mu.Unlock()
	err = p.run(ctx)
	g.mu.Lock()
	delete(g.running, lease.Partition())
	g.mu.Unlock()
	switch {
	case errors.Is(err, errLease):
		p.log.Warn("the lease is over: what was in hand is given back", "epoch", lease.Epoch())
		return nil
	case err != nil:
		return fmt.Errorf("partition %d: %w", lease.Partition(), err)
	}
	return nil
}

// abandon closes what was opened before the partition had to be given up again.
func (p *partition) abandon(err error) error {
	if err != nil {
		return nil //nolint:nilerr // open has closed everything, and nobody waits for the reason
	}
	return p.closeReaders()
}

// input is a topic every partition reads.
type input struct {
	topic string
	queue *queue.Queue
}

func (g *Ingest) inputs() []input {
	var all []input
	for i := range g.d.Queues {
		all = append(all, input{g.d.Queues[i].Topic(), &g.d.Queues[i]})
	}
	return append(all, input{topic: topics.Core})
}

func (g *Ingest) open(ctx context.Context, lease ring.Lease) (*partition, error) {
	count, err := g.d.Bus.Partitions(ctx, topics.RuleEngine)
	if err != nil {
		return nil, err
	}
	p := &partition{g: g, c: g.c, d: g.d, lease: lease, partitions: count}
	p.log = g.d.Log.With("partition", lease.Partition())
	var stamp int64
	for _, from := range g.inputs() {
		reader, err := g.d.Bus.OpenReader(ctx, from.topic, lease.Partition())
		if err != nil {
			return nil, errors.Join(err, p.closeReaders())
		}
		p.sources = append(p.sources, newSource(from.topic, from.queue, reader, max(2, g.c.Window/g.c.PackRecords)))
		_, text, err := reader.Committed(ctx)
		if err != nil {
			return nil, errors.Join(err, p.closeReaders())
		}
		epoch, last := readNote(text)
		if epoch > lease.Epoch() {
			g.d.Metrics.backwards.Inc()
		}
		stamp = max(stamp, last)
	}
	p.build(stamp)
	err = p.steady(ctx, "load timers, generators and requests", func() error {
		return errors.Join(p.timers.load(ctx), p.loadGenerators(ctx), p.requests.load(ctx))
	})
	p.requests.awaitLoaded()
	if err != nil {
		return nil, errors.Join(err, p.closeReaders())
	}
	return p, nil
}

// scriptShare is how many nodes of one partition may wait for scripts, so that a tenant, which has at most half of each partition's
// slots, never has more calls under way than it may: they would be refused, and asked again and again.
func (g *Ingest) scriptShare() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(2, 2*g.c.ScriptCalls/max(1, len(g.running)))
}

// Owns reports whether this node processes a partition now.
func (g *Ingest) Owns(partition int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running[partition] != nil
}

// node is this node's name, as others address it.
func (g *Ingest) node() string { return strings.TrimPrefix(g.d.Bus.ReplyTopic(), topics.CoreResponses) }

// Ready returns nil, or what a partition is waiting for.
func (g *Ingest) Ready() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.running {
		if err := p.trouble.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// Changed tells the owner of a device, if it is this node, that people changed it. It never blocks:
// a change that finds no room is one whose names events carry late.
func (g *Ingest) Changed(tenant ident.TenantID, device ident.DeviceID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.running {
		if p.owns(device) {
			select {
			case p.changes <- change{tenant, device}:
			default:
			}
		}
	}
}

func (g *Ingest) seenBefore(topic string, partition int) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[topicPartition{topic, partition}]
}

func (g *Ingest) saw(topic string, partition int, next int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := topicPartition{topic, partition}
	g.seen[key] = max(g.seen[key], next)
}
