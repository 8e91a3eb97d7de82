package telemetry

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Remote is the Writer that calls the entity's owner over the bus. Errors are of the kinds of
// package fault; fault.Unavailable means that it may have been done.
type Remote struct {
	Bus bus.Caller
	// Budget is how long an owner may take.
	Budget time.Duration
}

// SaveTelemetry implements Writer.
func (r Remote) SaveTelemetry(ctx context.Context, tenant ident.TenantID, e ident.EntityID, records []Timed, ttl time.Duration) error {
	save := &sluicepb.SaveTelemetry{TtlMs: ttl.Milliseconds(), Records: make([]*sluicepb.TimedValues, len(records))}
	for i, record := range records {
		save.Records[i] = &sluicepb.TimedValues{TimeMs: record.Time, Values: values.ToProto(record.Values)}
	}
	return r.call(ctx, tenant, e, "save telemetry", &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SaveTelemetry{SaveTelemetry: save}})
}

// SaveAttributes implements Writer.
func (r Remote) SaveAttributes(ctx context.Context, tenant ident.TenantID, e ident.EntityID, scope storage.Scope, kvs []values.KeyValue) error {
	save := &sluicepb.SaveAttributes{Scope: ScopeName(scope), Values: values.ToProto(kvs)}
	return r.call(ctx, tenant, e, "save attributes", &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SaveAttributes{SaveAttributes: save}})
}

// DeleteAttributes implements Writer.
func (r Remote) DeleteAttributes(ctx context.Context, tenant ident.TenantID, e ident.EntityID, scope storage.Scope, keys []string) error {
	remove := &sluicepb.DeleteAttributes{Scope: ScopeName(scope), Keys: keys}
	return r.call(ctx, tenant, e, "delete attributes", &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteAttributes{DeleteAttributes: remove}})
}

// DeleteTelemetry implements Writer.
func (r Remote) DeleteTelemetry(ctx context.Context, tenant ident.TenantID, e ident.EntityID, what DeleteTelemetry) error {
	remove := &sluicepb.DeleteTelemetry{
		Keys: what.Keys, AllData: what.All, StartMs: what.Within.Start, EndMs: what.Within.End,
		DeleteLatest: what.DeleteLatest, RewriteLatestIfDeleted: what.RewriteLatestIfDeleted,
	}
	return r.call(ctx, tenant, e, "delete telemetry", &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteTelemetry{DeleteTelemetry: remove}})
}

func (r Remote) call(ctx context.Context, tenant ident.TenantID, e ident.EntityID, doing string, m *sluicepb.CoreMessage) error {
	m.TenantId, m.Entity = tenant.ID[:], &sluicepb.EntityId{Type: e.Type, Id: e.ID[:]}
	request, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	text, err := r.Bus.Call(ctx, topics.Core, e.ID[:], request, r.Budget)
	if err != nil {
		return fault.Wrap(fault.Unavailable, doing, err)
	}
	var answer sluicepb.CoreAnswer
	if err := proto.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: read the answer: %w", doing, err)
	}
	return fault.FromProto(answer.GetFault())
}
