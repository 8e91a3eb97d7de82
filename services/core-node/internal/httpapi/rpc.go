package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Requests asks devices.
type Requests interface {
	// Send returns what became of the request. Errors carry a fault.Kind; of a device that is not the tenant's, fault.NotFound.
	Send(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, s *sluicepb.SendRpc, now time.Time) (rpc.Outcome, error)
	// Delete ends a persistent request and forgets it.
	Delete(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, id ident.ID) error
}

// Where the two generations of the API are.
const (
	rpcPrefix   = "/api/rpc/"
	rpcPrefixV1 = "/api/plugins/rpc/"
)

// rpcRoutes are those of rest-api §2.8.
func (a *api) rpcRoutes() []route {
	v1 := rpcStatus{notAnswered: http.StatusRequestTimeout, notConnected: http.StatusConflict}
	v2 := rpcStatus{notAnswered: http.StatusGatewayTimeout, notConnected: http.StatusGatewayTimeout}
	return []route{
		{"POST", rpcPrefix + "oneway/{deviceId}", tenantUsers(), a.sendRPC(true, v2)},
		{"POST", rpcPrefix + "twoway/{deviceId}", tenantUsers(), a.sendRPC(false, v2)},
		{"POST", rpcPrefixV1 + "oneway/{deviceId}", tenantUsers(), a.sendRPC(true, v1)},
		{"POST", rpcPrefixV1 + "twoway/{deviceId}", tenantUsers(), a.sendRPC(false, v1)},
		{"GET", rpcPrefix + "persistent/{rpcId}", tenantUsers(), a.persistentRPC},
		{"GET", rpcPrefix + "persistent/device/{deviceId}", tenantUsers(), a.persistentRPCs},
		{"DELETE", rpcPrefix + "persistent/{rpcId}", tenants(), a.deleteRPC},
	}
}

// rpcStatus is what a generation of the API says of requests that failed.
type rpcStatus struct{ notAnswered, notConnected empty }

func (a *api) sendRPC(oneWay bool, status rpcStatus) handler {
	return func(r *http.Request, p auth.Principal) (any, error) {
		id, err := pathID(r, "deviceId")
		if err != nil {
			return nil, err
		}
		device := ident.DeviceID{ID: id}
		if err := a.mayAsk(r.Context(), p, device); err != nil {
			return nil, plain{err}
		}
		send, err := a.readRPC(r)
		if err != nil {
			return nil, err
		}
		send.OneWay, send.UserId, send.UserName = oneWay, p.User[:], p.Email
		outcome, err := a.Requests.Send(r.Context(), p.Tenant, device, send, a.Now())
		switch {
		case err != nil:
			return nil, plain{err}
		case outcome.Error == rpc.NoConnection:
			return nil, status.notConnected
		case outcome.Error != "":
			return nil, status.notAnswered
		case outcome.Payload == "" || oneWay && !send.GetPersistent():
			return nil, nil //nolint:nilnil // an empty body
		case !json.Valid([]byte(outcome.Payload)):
			return nil, empty(http.StatusNotAcceptable)
		}
		return raw(outcome.Payload), nil
	}
}

// mayAsk refuses who may not ask a device. Whether it is one of the tenant's, its owner knows without reading it, and its administrators may
// ask any of those.
func (a *api) mayAsk(ctx context.Context, p auth.Principal, device ident.DeviceID) error {
	if p.Is(entity.TenantAdmin) {
		return nil
	}
	return a.Guard.Reach(ctx, p, device)
}

// rpcBody is a request to a device as people send it.
type rpcBody struct {
	Method         *string         `json:"method"`
	Params         json.RawMessage `json:"params"`
	Timeout        *int64          `json:"timeout"`
	ExpirationTime *int64          `json:"expirationTime"`
	Persistent     bool            `json:"persistent"`
	Retries        *int32          `json:"retries"`
	AdditionalInfo json.RawMessage `json:"additionalInfo"`
	RequestUUID    *string         `json:"requestUUID"`
}

// How long a device has for an answer, ms.
const (
	standardTimeout = 10_000
	leastTimeout    = 5_000
)

func (a *api) readRPC(r *http.Request) (*sluicepb.SendRpc, error) {
	var body rpcBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.Method == nil || strings.TrimSpace(*body.Method) == "" {
		return nil, plain{invalid("method", "is required")}
	}
	send := &sluicepb.SendRpc{
		Method: *body.Method, Params: compactJSON(body.Params), Persistent: body.Persistent, Retries: -1,
	}
	if !none(body.AdditionalInfo) {
		send.AdditionalInfo = compactJSON(body.AdditionalInfo)
	}
	if most := a.RPC.Bytes; len(send.Method)+len(send.Params)+len(send.AdditionalInfo) > most {
		return nil, plain{fault.New(fault.Invalid, fmt.Sprintf("method, params and additionalInfo: must be at most %d bytes together", most))}
	}
	if body.Retries != nil {
		if send.Retries = *body.Retries; send.Retries < 0 {
			return nil, plain{invalid("retries", "must not be negative")}
		}
	}
	id := ident.New()
	if body.RequestUUID != nil && *body.RequestUUID != "" {
		var err error
		if id, err = parseID("requestUUID", *body.RequestUUID); err != nil || id.IsZero() {
			return nil, plain{invalid("requestUUID", "is not an id")}
		}
	}
	send.RpcId = id[:]
	var err error
	send.ExpiresAtMs, err = a.expiry(body)
	return send, err
}

// expiry is when nobody waits for the request any more.
func (a *api) expiry(body rpcBody) (int64, error) {
	now := a.Now().UnixMilli()
	field, most := "timeout", a.RPC.LongestWait
	if body.Persistent {
		most = a.RPC.Longest
	}
	wait := int64(standardTimeout)
	switch {
	case body.ExpirationTime != nil:
		field, wait = "expirationTime", *body.ExpirationTime-now
		if wait <= 0 {
			return 0, plain{invalid(field, "is over")}
		}
	case body.Timeout != nil:
		wait = max(leastTimeout, *body.Timeout)
	}
	if wait > most.Milliseconds() {
		return 0, plain{invalid(field, fmt.Sprintf("must be within %v", most))}
	}
	return now + wait, nil
}

// compactJSON is JSON text without blanks; what is not given is null.
func compactJSON(given json.RawMessage) string {
	var out bytes.Buffer
	if len(given) == 0 || json.Compact(&out, given) != nil {
		return "null"
	}
	return out.String()
}

func (a *api) persistentRPC(r *http.Request, p auth.Principal) (any, error) {
	record, err := a.foundRPC(r, p)
	if err != nil {
		return nil, err
	}
	return a.rpcView(record)
}

// foundRPC is the persistent request of the path, if p may see its device.
func (a *api) foundRPC(r *http.Request, p auth.Principal) (rpc.Record, error) {
	id, err := pathID(r, "rpcId")
	if err != nil {
		return rpc.Record{}, err
	}
	record, err := a.Asked.Get(r.Context(), p.Tenant, id)
	if err != nil {
		return record, err
	}
	return record, a.Guard.Reach(r.Context(), p, record.Device)
}

// asOf is a record at a time, ms: one whose time has come is shown as what it is about to be.
func asOf(record rpc.Record, now int64) rpc.Record {
	if !record.Over() && record.Expires <= now {
		record.Status = rpc.Expired
	}
	return record
}

func (a *api) rpcView(record rpc.Record) (raw, error) {
	record = asOf(record, a.Now().UnixMilli())
	return record.Text()
}

func (a *api) persistentRPCs(r *http.Request, p auth.Principal) (any, error) {
	id, err := pathID(r, "deviceId")
	if err != nil {
		return nil, err
	}
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	wanted := rpc.Status("")
	if name := r.URL.Query().Get("rpcStatus"); name != "" {
		var ok bool
		if wanted, ok = rpc.ParseStatus(name); !ok || wanted == rpc.Deleted {
			return nil, invalid("rpcStatus", fmt.Sprintf("%q is no status to look for", name))
		}
	}
	device := ident.DeviceID{ID: id}
	if err := a.Guard.Reach(r.Context(), p, device); err != nil {
		return nil, plain{err}
	}
	records, err := a.Asked.Of(r.Context(), p.Tenant, device)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	return a.rpcPage(records, wanted, asked)
}

func (a *api) rpcPage(records []rpc.Record, wanted rpc.Status, asked entity.PageRequest) (any, error) {
	now := a.Now().UnixMilli()
	for i := range records {
		records[i] = asOf(records[i], now)
	}
	records = slices.DeleteFunc(records, func(o rpc.Record) bool { return wanted != "" && o.Status != wanted })
	slices.SortStableFunc(records, func(x, y rpc.Record) int {
		order := cmp.Compare(x.Created, y.Created)
		switch asked.Sort {
		case "expirationTime":
			order = cmp.Compare(x.Expires, y.Expires)
		case "status":
			order = cmp.Compare(x.Status, y.Status)
		}
		if asked.Descending {
			return -order
		}
		return order
	})
	found := entity.Page[rpc.Record]{Total: len(records)}
	if from := asked.Page * asked.Size; from >= 0 && from < len(records) {
		found.Items = records[from:min(len(records), from+asked.Size)]
	}
	var failed error
	shown := paged(found, asked, func(o rpc.Record) json.RawMessage {
		text, err := a.rpcView(o)
		failed = errors.Join(failed, err)
		return json.RawMessage(text)
	})
	return shown, failed
}

func (a *api) deleteRPC(r *http.Request, p auth.Principal) (any, error) {
	record, err := a.foundRPC(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Requests.Delete(r.Context(), p.Tenant, record.Device, record.ID)
}
