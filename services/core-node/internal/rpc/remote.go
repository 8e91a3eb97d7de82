package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// Remote asks devices by their owners. Safe for concurrent use.
type Remote struct {
	Bus bus.Caller
	// Budget is for calls that do not wait for a device.
	Budget time.Duration
}

// Send sends a request to a device, by its owner, and waits for the outcome: until the request has expired if it is not
// persistent. Errors are of the kinds of package fault.
func (r Remote) Send(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, s *sluicepb.SendRpc, now time.Time) (Outcome, error) {
	budget := r.Budget
	if !s.GetPersistent() {
		budget = time.UnixMilli(s.GetExpiresAtMs()).Sub(now) + grace
	}
	answer, err := r.call(ctx, tenant, device, budget, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SendRpc{SendRpc: s}})
	switch {
	case errors.Is(err, bus.ErrBudget) && !s.GetPersistent():
		return Outcome{Error: Timeout}, nil
	case err != nil:
		return Outcome{}, err
	}
	switch answer.GetRpc() {
	case sluicepb.RpcOutcome_RPC_NOT_ANSWERED:
		return Outcome{Error: Timeout}, nil
	case sluicepb.RpcOutcome_RPC_NOT_CONNECTED:
		return Outcome{Error: NoConnection}, nil
	}
	return Outcome{Payload: string(answer.GetDocument())}, nil
}

// Delete ends a persistent request and forgets it.
func (r Remote) Delete(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, id ident.ID) error {
	_, err := r.call(ctx, tenant, device, r.Budget, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteRpc{DeleteRpc: &sluicepb.DeleteRpc{RpcId: id[:]}}})
	return err
}

func (r Remote) call(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, budget time.Duration, m *sluicepb.CoreMessage) (*sluicepb.CoreAnswer, error) {
	m.TenantId, m.Entity = tenant.ID[:], &sluicepb.EntityId{Type: ident.Device, Id: device.ID[:]}
	request, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("ask a device's owner: %w", err)
	}
	text, err := r.Bus.Call(ctx, topics.Core, device.ID[:], request, budget)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "ask a device's owner", err)
	}
	answer := &sluicepb.CoreAnswer{}
	if err := proto.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("ask a device's owner: read the answer: %w", err)
	}
	return answer, fault.FromProto(answer.GetFault())
}

// Answer is o as a caller is answered.
func (o Outcome) Answer() *sluicepb.CoreAnswer {
	switch o.Error {
	case "":
		return &sluicepb.CoreAnswer{Document: []byte(o.Payload)}
	case NotFound:
		return &sluicepb.CoreAnswer{Fault: fault.ToProto(Gone())}
	case NoConnection:
		return &sluicepb.CoreAnswer{Rpc: sluicepb.RpcOutcome_RPC_NOT_CONNECTED}
	}
	return &sluicepb.CoreAnswer{Rpc: sluicepb.RpcOutcome_RPC_NOT_ANSWERED}
}
