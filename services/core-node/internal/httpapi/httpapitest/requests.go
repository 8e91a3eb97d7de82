package httpapitest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Requests is the owner of all devices for requests to them: it keeps persistent ones, and answers the others as told.
type Requests struct {
	keeper  rpc.Keeper
	devices storage.Entities

	mu      sync.Mutex
	outcome rpc.Outcome
	err     error
	sent    []*sluicepb.SendRpc
}

// Answer makes outcome, or err, the answer to every request from now on.
func (q *Requests) Answer(outcome rpc.Outcome, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.outcome, q.err = outcome, err
}

// Sent is what was sent so far, in order.
func (q *Requests) Sent() []*sluicepb.SendRpc {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]*sluicepb.SendRpc(nil), q.sent...)
}

// Send implements httpapi.Requests.
func (q *Requests) Send(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, s *sluicepb.SendRpc, now time.Time) (rpc.Outcome, error) {
	if _, err := q.devices.Get(ctx, tenant, device.Entity()); err != nil {
		return rpc.Outcome{}, rpc.Gone()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent = append(q.sent, s)
	if !s.GetPersistent() || q.err != nil {
		return q.outcome, q.err
	}
	id := ident.ID(s.GetRpcId())
	return rpc.Outcome{Payload: `{"rpcId":"` + id.String() + `"}`}, q.keep(ctx, rpc.Record{
		ID: id, Tenant: tenant, Device: device, Method: s.GetMethod(), Params: s.GetParams(), OneWay: s.GetOneWay(), Persistent: true,
		Created: now.UnixMilli(), Expires: s.GetExpiresAtMs(), Retries: int(s.GetRetries()), AdditionalInfo: s.GetAdditionalInfo(), Status: rpc.Queued,
	}, now)
}

func (q *Requests) keep(ctx context.Context, r rpc.Record, now time.Time) error {
	return q.keeper.Keep(ctx, 0, []rpc.Change{{Record: r, New: true}}, now)
}

// Keep stores a persistent request as it is.
func (q *Requests) Keep(t testing.TB, r rpc.Record) {
	t.Helper()
	if err := q.keep(t.Context(), r, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// Delete implements httpapi.Requests.
func (q *Requests) Delete(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, id ident.ID) error {
	r, err := q.keeper.On(ctx, tenant, device, id)
	if err != nil {
		return err
	}
	r.Status = rpc.Deleted
	return q.keeper.Keep(ctx, 0, []rpc.Change{{Record: r}}, time.Now())
}

// newRequests keeps requests in store for an hour.
func newRequests(store storage.Store) *Requests {
	return &Requests{keeper: rpc.Keeper{Rows: store, Retention: time.Hour}, devices: store}
}
