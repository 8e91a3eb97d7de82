package httpapitest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Owner is the owner of all entities: a telemetry.Writer that stores at once and tells the hub.
type Owner struct {
	store storage.Telemetry
	hub   *live.Hub

	mu    sync.Mutex
	stamp int64
}

var _ telemetry.Writer = (*Owner)(nil)

func (o *Owner) write(ctx context.Context, batch []storage.Write) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	updates := make([]live.Update, len(batch))
	for i := range batch {
		o.stamp = max(o.stamp+1, time.Now().UnixMicro())
		batch[i].Stamp = o.stamp
		updates[i] = live.Update{Entity: batch[i].Entity, Scope: batch[i].Scope, Time: batch[i].Time, Values: batch[i].Values}
	}
	if err := o.store.Write(ctx, batch); err != nil {
		return fmt.Errorf("store values: %w", err)
	}
	o.hub.Publish(updates)
	return nil
}

// SaveTelemetry implements telemetry.Writer.
func (o *Owner) SaveTelemetry(ctx context.Context, _ ident.TenantID, e ident.EntityID, records []telemetry.Timed, ttl time.Duration) error {
	batch := make([]storage.Write, len(records))
	for i, r := range records {
		batch[i] = storage.Write{Entity: e, Scope: storage.Timeseries, Time: r.Time, TTL: ttl, Values: r.Values}
	}
	return o.write(ctx, batch)
}

// SaveAttributes implements telemetry.Writer.
func (o *Owner) SaveAttributes(ctx context.Context, _ ident.TenantID, e ident.EntityID, scope storage.Scope, kvs []values.KeyValue) error {
	return o.write(ctx, []storage.Write{{Entity: e, Scope: scope, Time: time.Now().UnixMilli(), Values: kvs}})
}

// DeleteAttributes implements telemetry.Writer.
func (o *Owner) DeleteAttributes(ctx context.Context, _ ident.TenantID, e ident.EntityID, scope storage.Scope, keys []string) error {
	if err := o.store.DeleteAttributes(ctx, e, scope, keys); err != nil {
		return err
	}
	o.hub.Publish([]live.Update{{Entity: e, Scope: scope, Deleted: keys}})
	return nil
}

// DeleteTelemetry implements telemetry.Writer.
func (o *Owner) DeleteTelemetry(ctx context.Context, _ ident.TenantID, e ident.EntityID, what telemetry.DeleteTelemetry) error {
	within := what.Within
	if what.All {
		within = storage.Span{Start: -1 << 62, End: 1 << 62}
	}
	if err := o.store.DeleteSeries(ctx, e, what.Keys, within); err != nil {
		return err
	}
	if !what.DeleteLatest {
		return nil
	}
	latest, err := o.store.Latest(ctx, e, what.Keys)
	if err != nil {
		return err
	}
	for _, entry := range latest {
		if entry.Time < within.Start || entry.Time >= within.End {
			continue
		}
		if err := o.store.DeleteLatest(ctx, e, []string{entry.Key}); err != nil {
			return err
		}
		if !what.RewriteLatestIfDeleted {
			continue
		}
		for p, err := range o.store.Range(ctx, e, entry.Key, storage.Span{Start: -1 << 62, End: within.Start}, true) {
			if err != nil {
				return err
			}
			w := storage.Write{Entity: e, Time: p.Time, SkipHistory: true, Values: []values.KeyValue{{Key: entry.Key, Value: p.Value}}}
			if err := o.write(ctx, []storage.Write{w}); err != nil {
				return err
			}
			break
		}
	}
	return nil
}
