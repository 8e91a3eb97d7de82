package transport

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// ReadAttributes implements AttributeReader.
func (t *Transport) ReadAttributes(ctx context.Context, d *Device, q AttributeQuery) (Attributes, error) {
	now := time.Now()
	if !d.allowMessage(now) {
		return Attributes{}, ErrRateLimited
	}
	t.activity.note(d, now)
	message := coreMessage(d)
	message.Body = &sluicepb.CoreMessage_AttributesRequest{AttributesRequest: &sluicepb.AttributesRequest{
		AllClient: q.AllClient, AllShared: q.AllShared, ClientKeys: q.ClientKeys, SharedKeys: q.SharedKeys,
	}}
	request, err := proto.Marshal(message)
	if err != nil {
		return Attributes{}, fault.Wrap(fault.Invalid, "encode attribute request", err)
	}
	reply, err := t.bus.Call(ctx, topics.Core, d.ID.ID[:], request, t.config.CallBudget)
	t.metrics.calls.WithLabelValues("attributes", result(err)).Inc()
	if err != nil {
		return Attributes{}, busFault("read attributes", err)
	}
	var answer sluicepb.CoreAnswer
	if err := proto.Unmarshal(reply, &answer); err != nil {
		return Attributes{}, fault.Wrap(fault.Internal, "read attributes", err)
	}
	if err := fault.FromProto(answer.GetFault()); err != nil {
		return Attributes{}, err
	}
	return Attributes{
		Client: telemetry.FromProto(answer.GetClientAttributes()),
		Shared: telemetry.FromProto(answer.GetSharedAttributes()),
	}, nil
}

// coreMessage is a message to d's owner, without its body.
func coreMessage(d *Device) *sluicepb.CoreMessage {
	return &sluicepb.CoreMessage{TenantId: d.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: sluicepb.EntityType_DEVICE, Id: d.ID.ID[:]}}
}
