package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
)

// ruleChainRoutes are those of rest-api §2.11 about rule chains.
func (a *api) ruleChainRoutes() []route {
	return []route{
		{"POST", "/api/ruleChain", tenants(), a.saveRuleChain},
		{"GET", "/api/ruleChains", tenants(), a.listRuleChains},
		{"GET", "/api/ruleChains/list", tenants(), a.ruleChainsByID},
		{"POST", "/api/ruleChain/device/default", tenants(), a.defaultRuleChain},
		{"GET", "/api/ruleChain/{ruleChainId}", tenants(), a.ruleChain},
		{"DELETE", "/api/ruleChain/{ruleChainId}", tenants(), a.deleteRuleChain},
		{"POST", "/api/ruleChain/{ruleChainId}/root", tenants(), a.setRootRuleChain},
		{"GET", "/api/ruleChain/{ruleChainId}/metadata", tenants(), a.ruleChainGraph},
		{"POST", "/api/ruleChain/metadata", tenants(), a.saveRuleChainGraph},
		{"GET", "/api/ruleChain/{ruleChainId}/output/labels", tenants(), a.outputLabels},
		{"GET", "/api/ruleChain/{ruleChainId}/output/labels/usage", tenants(), a.outputLabelsUsage},
		{"GET", "/api/ruleChains/export", tenants(), a.exportRuleChains},
		{"POST", "/api/ruleChains/import", tenants(), a.importRuleChains},
	}
}

// ruleChainBody is RuleChain (rest-api §3.5). In a bundle it has no tenant.
type ruleChainBody struct {
	ID              ref             `json:"id"`
	CreatedTime     int64           `json:"createdTime"`
	AdditionalInfo  json.RawMessage `json:"additionalInfo"`
	TenantID        *ref            `json:"tenantId"`
	Name            string          `json:"name"`
	Type            string          `json:"type"`
	FirstRuleNodeID *ref            `json:"firstRuleNodeId"`
	Root            bool            `json:"root"`
	DebugMode       bool            `json:"debugMode"`
	Configuration   json.RawMessage `json:"configuration"`
	ExternalID      *ref            `json:"externalId"`
	Version         *int64          `json:"version"`
}

func ruleChainView(c rulechain.Chain) ruleChainBody {
	view := entryView(c.ID, c.External, c.Entry)
	view.CreatedTime, view.TenantID, view.FirstRuleNodeID = c.CreatedTime, optional(ident.Tenant, c.Tenant.ID), optional(ident.RuleNode, c.First())
	view.Root, view.Version = c.Root, &c.Version
	return view
}

func entryView(id, external ident.ID, e rule.ChainEntry) ruleChainBody {
	kind := e.Type
	if kind == "" {
		kind = entity.CoreChain
	}
	return ruleChainBody{
		ID: refOf(ident.RuleChain, id), AdditionalInfo: objectView(e.AdditionalInfo), Name: e.Name, Type: kind, DebugMode: e.DebugMode,
		Configuration: objectView(e.Configuration), ExternalID: optional(ident.RuleChain, external),
	}
}

// sentRuleChain is a RuleChain somebody sent. Its entry point is its metadata's to say.
type sentRuleChain struct {
	ID, ExternalID *given
	Root           bool
	Version        *int64
	rule.ChainEntry
}

// check returns the ids of what was sent.
func (in *sentRuleChain) check() (id, external ident.ID, err error) {
	if id, err = in.ID.id("id", ident.RuleChain); err != nil {
		return id, external, err
	}
	if external, err = in.ExternalID.id("externalId", ident.RuleChain); err != nil {
		return id, external, err
	}
	if in.AdditionalInfo, err = object("additionalInfo", in.AdditionalInfo); err != nil {
		return id, external, err
	}
	if in.Configuration, err = object("configuration", in.Configuration); err != nil {
		return id, external, err
	}
	return id, external, checkText("name", in.Name)
}

func (a *api) saveRuleChain(r *http.Request, p auth.Principal) (any, error) {
	var in sentRuleChain
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, external, err := in.check()
	if err != nil {
		return nil, err
	}
	var saved rulechain.Chain
	if id.IsZero() {
		if in.Root {
			return nil, secondRoot()
		}
		saved, err = a.RuleChains.Create(r.Context(), p.Tenant, in.ChainEntry, external)
	} else {
		var found rulechain.Chain
		if found, err = a.ownRuleChain(r, p, id); err != nil {
			return nil, err
		}
		if in.Root && !found.Root {
			return nil, secondRoot()
		}
		saved, err = a.RuleChains.Change(r.Context(), p.Tenant, id, orZero(in.Version), in.ChainEntry)
	}
	if err != nil {
		return nil, err
	}
	return ruleChainView(saved), nil
}

func secondRoot() error {
	return fault.New(fault.Invalid, "Another root rule chain is present in scope of current tenant!")
}

func (a *api) ownRuleChain(r *http.Request, p auth.Principal, id ident.ID) (rulechain.Chain, error) {
	found, err := a.RuleChains.Get(r.Context(), p.Tenant, id)
	return found, a.Guard.Foreign(r.Context(), ident.EntityID{Type: ident.RuleChain, ID: id}, err)
}

// oneRuleChain returns the chain of the path.
func (a *api) oneRuleChain(r *http.Request, p auth.Principal) (rulechain.Chain, error) {
	id, err := pathID(r, "ruleChainId")
	if err != nil {
		return rulechain.Chain{}, err
	}
	return a.ownRuleChain(r, p, id)
}

func (a *api) ruleChain(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneRuleChain(r, p)
	if err != nil {
		return nil, err
	}
	return ruleChainView(found), nil
}

func (a *api) deleteRuleChain(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneRuleChain(r, p)
	if err != nil {
		return nil, err
	}
	return nil, a.Entities.RuleChains.Delete(r.Context(), p.Tenant, found.ID)
}

func (a *api) setRootRuleChain(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneRuleChain(r, p)
	if err != nil {
		return nil, err
	}
	if found.RuleChain, err = a.Entities.RuleChains.SetRoot(r.Context(), p.Tenant, found.ID); err != nil {
		return nil, err
	}
	return ruleChainView(found), nil
}

func (a *api) defaultRuleChain(r *http.Request, p auth.Principal) (any, error) {
	var in struct{ Name string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := checkText("name", in.Name); err != nil {
		return nil, err
	}
	saved, err := a.RuleChains.CreateDefault(r.Context(), p.Tenant, in.Name)
	if err != nil {
		return nil, err
	}
	return ruleChainView(saved), nil
}

func (a *api) listRuleChains(r *http.Request, p auth.Principal) (any, error) {
	q := r.URL.Query()
	if q.Has("ruleChainIds") {
		return a.ruleChainsByID(r, p)
	}
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	kind := q.Get("type")
	if kind == "" {
		kind = entity.CoreChain
	}
	found, err := a.Entities.RuleChains.List(r.Context(), p.Tenant, kind, asked)
	if err != nil {
		return nil, err
	}
	views := entity.Page[ruleChainBody]{Total: found.Total}
	for _, stored := range found.Items {
		c, err := a.RuleChains.Read(stored)
		if err != nil {
			return nil, err
		}
		views.Items = append(views.Items, ruleChainView(c))
	}
	return paged(views, asked, same), nil
}

func (a *api) ruleChainsByID(r *http.Request, p auth.Principal) (any, error) {
	return listByID(r, "ruleChainIds", ruleChainView, func(id ident.ID) (rulechain.Chain, error) {
		return a.RuleChains.Get(r.Context(), p.Tenant, id)
	})
}
