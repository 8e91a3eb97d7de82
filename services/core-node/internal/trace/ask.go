package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Asker asks the owner of an entity what became of its messages. Safe for concurrent use.
type Asker struct {
	Bus      bus.Caller
	Entities *entity.Registry
	Budget   time.Duration // for the answer
}

// Of returns what became of the entity's latest messages, as JSON of []Message, the newest first. The limit is
// 1 to 100. Errors carry a fault.Kind.
func (a Asker) Of(ctx context.Context, tenant ident.TenantID, e ident.EntityID, limit int) (json.RawMessage, error) {
	request, err := proto.Marshal(&sluicepb.CoreMessage{
		TenantId: tenant.ID[:], Entity: &sluicepb.EntityId{Type: e.Type, Id: e.ID[:]},
		Body: &sluicepb.CoreMessage_Trace{Trace: &sluicepb.TraceRequest{Limit: int32(min(limit, 100))}},
	})
	if err != nil {
		return nil, fmt.Errorf("ask for traces: %w", err)
	}
	answered, err := a.Bus.Call(ctx, topics.Core, e.ID[:], request, a.Budget)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "ask the owner of "+e.String()+" for traces", err)
	}
	var answer sluicepb.CoreAnswer
	if err := proto.Unmarshal(answered, &answer); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "read traces", err)
	}
	return answer.GetDocument(), fault.FromProto(answer.GetFault())
}

// Register offers traces to operators: GET /trace?device=NAME-OR-ID&limit=20.
func (a Asker) Register(routes process.AdminRoutes) {
	routes.Handle("GET /trace", http.HandlerFunc(a.answer))
}

func (a Asker) answer(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 {
		limit = 20
	}
	var document json.RawMessage
	d, err := a.device(r.Context(), r.URL.Query().Get("device"))
	if err == nil {
		document, err = a.Of(r.Context(), d.Tenant, d.ID.Entity(), limit)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		http.Error(w, "there is no such device", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // whoever asked has gone
	}
}

// device finds a device of any tenant by its id or its name; of several with one name, that of the first tenant.
func (a Asker) device(ctx context.Context, named string) (entity.Device, error) {
	id, err := ident.Parse(named)
	byID := err == nil
	for page := 0; ; page++ {
		tenants, err := a.Entities.Tenants.List(ctx, entity.PageRequest{Size: 100, Page: page})
		if err != nil {
			return entity.Device{}, err
		}
		for _, t := range tenants.Items {
			var d entity.Device
			if byID {
				d, err = a.Entities.Devices.Device(ctx, t.ID, ident.DeviceID{ID: id})
			} else {
				d, err = a.Entities.Devices.ByName(ctx, t.ID, named)
			}
			if err == nil || !errors.Is(err, storage.ErrNotFound) {
				return d, err
			}
		}
		if (page+1)*100 >= tenants.Total {
			return entity.Device{}, storage.ErrNotFound
		}
	}
}
