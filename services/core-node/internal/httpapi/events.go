package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
)

// eventRoutes are those of rest-api §2.12 about events, and a rule node's last input (§2.11).
func (a *api) eventRoutes() []route {
	return []route{
		{"GET", "/api/events/{entityType}/{entityId}", everyone(), a.listEvents},
		{"GET", "/api/events/{entityType}/{entityId}/{eventType}", everyone(), a.listEvents},
		{"POST", "/api/events/{entityType}/{entityId}", everyone(), a.searchEvents},
		{"POST", "/api/events/{entityType}/{entityId}/clear", everyone(), a.clearEvents},
		{"GET", "/api/ruleNode/{ruleNodeId}/debugIn", tenants(), a.debugIn},
	}
}

// eventBody is EventInfo.
type eventBody struct {
	ID          eventID         `json:"id"`
	CreatedTime int64           `json:"createdTime"`
	TenantID    ref             `json:"tenantId"`
	Type        string          `json:"type"`
	UID         string          `json:"uid"`
	EntityID    ref             `json:"entityId"`
	Body        json.RawMessage `json:"body"`
}

// eventID is not an entity's id: it has no type.
type eventID struct {
	ID string `json:"id"`
}

func eventView(s event.Stored) eventBody {
	return eventBody{eventID{s.ID.String()}, s.Time, refOf(ident.Tenant, s.Tenant.ID), s.Type, s.ID.String(), ref{s.Entity}, s.Body}
}

// eventQuery reads whose events are asked for, and of which time.
func (a *api) eventQuery(r *http.Request, p auth.Principal, action auth.Action) (q event.Query, err error) {
	if q.Entity, err = pathEntity(r); err != nil {
		return q, err
	}
	if q.Tenant, err = a.mayReadEvents(r, p, q.Entity, action); err != nil {
		return q, err
	}
	if q.Start, err = numberOr(r, "startTime", 0); err != nil {
		return q, err
	}
	q.End, err = numberOr(r, "endTime", 0)
	return q, err
}

// mayReadEvents returns the tenant whose events of the entity p may see. Rule nodes are not entities of their own; their events
// lie with their tenant, so that nobody finds another's.
func (a *api) mayReadEvents(r *http.Request, p auth.Principal, e ident.EntityID, action auth.Action) (ident.TenantID, error) {
	if e.Type == ident.RuleNode {
		if !p.Is(entity.TenantAdmin) {
			return ident.TenantID{}, auth.Denied()
		}
		return p.Tenant, nil
	}
	if err := a.Guard.Thing(r.Context(), p, e, action); err != nil {
		return ident.TenantID{}, err
	}
	if p.Is(entity.SysAdmin) && e.Type == ident.Tenant {
		return ident.TenantID{ID: e.ID}, nil
	}
	return p.Tenant, nil
}

// checkTenant holds a request to the tenant it names.
func checkTenant(r *http.Request, p auth.Principal) error {
	text := r.URL.Query().Get("tenantId")
	if text == "" {
		return invalid("tenantId", "is required")
	}
	tenant, err := auth.ParseID(text)
	if err != nil {
		return invalid("tenantId", err.Error())
	}
	if !p.Is(entity.SysAdmin) && tenant != p.Tenant.ID {
		return auth.Denied()
	}
	return nil
}

func checkEventType(kind string) error {
	if !event.Known(kind) {
		return invalid("eventType", strconv.Quote(kind)+" is unknown")
	}
	return nil
}

func (a *api) listEvents(r *http.Request, p auth.Principal) (any, error) {
	q, err := a.eventQuery(r, p, auth.ReadValues)
	if err != nil {
		return nil, err
	}
	if err := checkTenant(r, p); err != nil {
		return nil, err
	}
	if q.Type = chi.URLParam(r, "eventType"); q.Type == "" {
		q.Type = event.Lifecycle
	}
	if err := checkEventType(q.Type); err != nil {
		return nil, err
	}
	return a.eventPage(r, q)
}

func (a *api) eventPage(r *http.Request, q event.Query) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	switch asked.Sort {
	case "":
	case "createdTime", "ts":
		q.OldestFirst = !asked.Descending
	default:
		return nil, invalid("sortProperty", "events are in order of createdTime only")
	}
	q.Page, q.Size = asked.Page, asked.Size
	found, err := a.Events.Find(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return paged(entity.Page[event.Stored]{Items: found.Items, Total: found.Total}, asked, eventView), nil
}

// eventFilter is EventFilter: a type, and what the events' bodies are to say.
type eventFilter struct {
	EventType string `json:"eventType"`
	event.Filter
}

func readEventFilter(r *http.Request) (f eventFilter, err error) {
	if err = decode(r, &f); err != nil {
		return f, err
	}
	return f, checkEventType(f.EventType)
}

func (a *api) searchEvents(r *http.Request, p auth.Principal) (any, error) {
	q, err := a.eventQuery(r, p, auth.ReadValues)
	if err != nil {
		return nil, err
	}
	if err := checkTenant(r, p); err != nil {
		return nil, err
	}
	f, err := readEventFilter(r)
	if err != nil {
		return nil, err
	}
	q.Type, q.Filter = f.EventType, f.Filter
	return a.eventPage(r, q)
}

func (a *api) clearEvents(r *http.Request, p auth.Principal) (any, error) {
	q, err := a.eventQuery(r, p, auth.WriteValues)
	if err != nil {
		return nil, err
	}
	f, err := readEventFilter(r)
	if err != nil {
		return nil, err
	}
	q.Type, q.Filter = f.EventType, f.Filter
	return nil, a.Events.Clear(r.Context(), q)
}

// debugIn shows the body of the last debug event of what went into a rule node.
func (a *api) debugIn(r *http.Request, p auth.Principal) (any, error) {
	id, err := pathID(r, "ruleNodeId")
	if err != nil {
		return nil, err
	}
	in := "IN"
	e := ident.EntityID{Type: ident.RuleNode, ID: id}
	last, found, err := a.Events.Last(r.Context(), p.Tenant, e, event.DebugRuleNode, event.Filter{MsgDirectionType: &in})
	if err != nil {
		return nil, err
	}
	if !found {
		return raw("null"), nil
	}
	return last.Body, nil
}
