package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const (
	// readTogether is how many entities of a partition are read before the owner is looked at again, readers of them
	// at a time.
	readTogether = 64
	readers      = 8
	// missedPoints is how many points of an entity's series are delivered at most, besides the newest of each.
	missedPoints = 1000
)

// catchUp reads some of the entities whose updates may have been missed, and delivers what it finds.
func (g *group) catchUp(ctx context.Context) (int, error) {
	stale := g.pick(readTogether, func(one *watched) bool {
		if !one.stale {
			return false
		}
		one.stale = false // what is missed while it is read makes it stale again
		return true
	})
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		failed  []error
		slots   = make(chan struct{}, readers)
	)
	for _, e := range stale {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			err := g.w.o.Hub.CatchUp(e, func(since int64) ([]Update, error) { return g.w.values(ctx, e, since) })
			if err == nil {
				g.w.o.Metrics.caughtUp.Inc()
				return
			}
			g.again(e)
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		})
	}
	running.Wait()
	return len(stale), errors.Join(failed...)
}

func (g *group) again(e ident.EntityID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one := g.entities[e]; one != nil {
		one.stale = true
	}
}

// values reads the attributes and latest values of e, and of each series what is newer than since.
func (w *Watches) values(ctx context.Context, e ident.EntityID, since int64) ([]Update, error) {
	found := gathering{entity: e, places: map[place]int{}, left: missedPoints}
	for _, scope := range [...]storage.Scope{storage.Client, storage.Shared, storage.Server} {
		entries, err := w.o.Values.Attributes(ctx, e, scope, nil)
		if err != nil {
			return nil, fmt.Errorf("read attributes of %v: %w", e, err)
		}
		for _, entry := range entries {
			found.add(place{scope, entry.Time, false}, entry.KeyValue)
		}
	}
	entries, err := w.o.Values.Latest(ctx, e, nil)
	if err != nil {
		return nil, fmt.Errorf("read latest values of %v: %w", e, err)
	}
	for _, entry := range entries {
		if since > 0 && entry.Time > since && found.left > 0 {
			if err := w.between(ctx, &found, entry.Key, storage.Span{Start: since + 1, End: entry.Time}); err != nil {
				return nil, err
			}
		}
		found.add(place{storage.Timeseries, entry.Time, false}, entry.KeyValue)
	}
	slices.SortStableFunc(found.updates, func(a, b Update) int { return cmp.Compare(a.Time, b.Time) })
	return found.updates, nil
}

// between reads the newest points of a series within span, as far as there is room.
func (w *Watches) between(ctx context.Context, found *gathering, key string, span storage.Span) error {
	for p, err := range w.o.Values.Range(ctx, found.entity, key, span, true) {
		if err != nil {
			return fmt.Errorf("read a series of %v: %w", found.entity, err)
		}
		if found.left--; found.left < 0 {
			return nil
		}
		found.add(place{storage.Timeseries, p.Time, true}, telemetry.KeyValue{Key: key, Value: p.Value})
	}
	return nil
}

// gathering is the values of one entity on their way to being updates. Those of one scope and time stay together, as
// they were saved.
type gathering struct {
	entity  ident.EntityID
	updates []Update
	places  map[place]int
	left    int // points of series that there is still room for
}

type place struct {
	scope   storage.Scope
	time    int64
	between bool
}

func (g *gathering) add(at place, kv telemetry.KeyValue) {
	i, known := g.places[at]
	if !known {
		i = len(g.updates)
		g.places[at] = i
		g.updates = append(g.updates, Update{Entity: g.entity, Scope: at.scope, Time: at.time, between: at.between})
	}
	g.updates[i].Values = append(g.updates[i].Values, kv)
}
