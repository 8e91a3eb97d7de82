package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
)

// Traces tells what became of an entity's latest messages.
type Traces interface {
	// Of returns a JSON array, the newest message first.
	Of(ctx context.Context, tenant ident.TenantID, e ident.EntityID, limit int) (json.RawMessage, error)
}

// tracesMost is the most messages one request is told of.
const tracesMost = 100

// traceRoutes are beyond what the reference platform offers: the path each of an entity's latest messages took.
func (a *api) traceRoutes() []route {
	return []route{{"GET", "/api/trace/{entityType}/{entityId}", tenants(), a.traces}}
}

func (a *api) traces(r *http.Request, p auth.Principal) (any, error) {
	e, err := pathEntity(r)
	if err != nil {
		return nil, err
	}
	limit, err := numberOr(r, "limit", tracesMost)
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > tracesMost {
		return nil, invalid("limit", "must be 1 to 100")
	}
	tenant, err := a.Guard.Values(r.Context(), p, e, auth.ReadValues)
	if err != nil {
		return nil, err
	}
	return a.Traces.Of(r.Context(), tenant, e, int(limit))
}
