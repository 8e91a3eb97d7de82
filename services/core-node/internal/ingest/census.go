package ingest

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
)

// census reads the connectivity of all devices for the partitions that are new on this node, so that devices that fell
// silent or were lost while nobody owned them are found. The devices are gone through once for all partitions that come
// together, and never twice at a time: whoever comes meanwhile waits for the next time.
type census struct {
	devices entity.Devices

	mu      sync.Mutex
	waiting map[int]*enrolment // by partition
	// ended is closed when the census under way is over; nil while there is none.
	ended chan struct{}
}

// enrolment is one partition's part in a census.
type enrolment struct {
	p     *partition
	over  <-chan struct{} // the partition is given up
	done  chan struct{}   // closed when it has been given all its devices
	batch []entity.Device
}

const (
	// gather is how long a census waits for further partitions: a node gets several at a time.
	gather = 200 * time.Millisecond
	// readTogether is how many devices the owner takes on between two packs; readers of them are read side by side.
	readTogether = 256
	readers      = 16
)

func newCensus(devices entity.Devices) *census {
	return &census{devices: devices, waiting: map[int]*enrolment{}}
}

// load returns when p has been given its devices, or ctx ends. One of those who wait conducts the census for all.
func (c *census) load(ctx context.Context, p *partition) error {
	mine := &enrolment{p: p, over: ctx.Done(), done: make(chan struct{})}
	c.mu.Lock()
	c.waiting[p.lease.Partition()] = mine
	c.mu.Unlock()
	for {
		ended, conducting := c.enter(mine)
		if conducting {
			err := c.conduct(ctx, p)
			c.leave()
			if err != nil || ctx.Err() != nil {
				c.withdraw(mine)
			}
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-mine.done:
			return nil
		case <-ended:
		case <-ctx.Done():
			c.withdraw(mine)
			return nil
		}
	}
}

// enter begins a census, unless one is under way, whose end is returned, or e was served.
func (c *census) enter(e *enrolment) (ended chan struct{}, conducting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-e.done:
		return c.ended, false
	default:
	}
	if c.ended != nil {
		return c.ended, false
	}
	c.ended = make(chan struct{})
	return nil, true
}

func (c *census) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.ended)
	c.ended = nil
}

func (c *census) withdraw(e *enrolment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := e.p.lease.Partition(); c.waiting[n] == e {
		delete(c.waiting, n)
	}
}

// conduct goes through all devices on behalf of everybody who waits. Who was not served waits on.
func (c *census) conduct(ctx context.Context, p *partition) error {
	select {
	case <-time.After(gather):
	case <-ctx.Done():
		return nil
	}
	c.mu.Lock()
	enrolled := maps.Clone(c.waiting)
	clear(c.waiting)
	c.mu.Unlock()
	p.d.Metrics.censuses.Inc()
	err := p.steady(ctx, "load devices", func() error { return c.count(ctx, p, enrolled) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, e := range enrolled {
		switch {
		case err == nil:
			close(e.done)
		case c.waiting[n] == nil:
			e.batch = nil
			c.waiting[n] = e
		}
	}
	return err
}

func (c *census) count(ctx context.Context, p *partition, enrolled map[int]*enrolment) error {
	err := c.devices.EachDevice(ctx, func(d entity.Device) error {
		e := enrolled[bus.Partition(d.ID.ID[:], p.partitions)]
		if e == nil {
			return nil
		}
		if e.batch = append(e.batch, d); len(e.batch) < readTogether {
			return nil
		}
		return e.hand(ctx, p)
	})
	for _, e := range enrolled {
		if err == nil && len(e.batch) > 0 {
			err = e.hand(ctx, p)
		}
	}
	return err
}

// hand reads what is known of the batch's devices and gives it to their owner. by conducts the census.
func (e *enrolment) hand(ctx context.Context, by *partition) error {
	batch := e.batch
	e.batch = e.batch[:0]
	devices := make([]*state.Device, len(batch))
	err := by.steady(ctx, "load devices", func() error {
		group, reading := errgroup.WithContext(ctx)
		group.SetLimit(readers)
		for i := range batch {
			group.Go(func() (err error) {
				devices[i], err = state.Read(reading, by.d.Store, batch[i])
				return err
			})
		}
		return group.Wait()
	})
	if err != nil {
		return err
	}
	select {
	case e.p.adopted <- devices:
	case <-e.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
