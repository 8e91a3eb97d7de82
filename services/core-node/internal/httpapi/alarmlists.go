package httpapi

import (
	"net/http"
	"strings"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// alarmListRoutes are those of rest-api §2.9 that find alarms.
func (a *api) alarmListRoutes() []route {
	return []route{
		{"GET", "/api/alarm/{entityType}/{entityId}", everyone(), a.alarmsAt(oneStatus)},
		{"GET", "/api/alarms", tenantUsers(), a.alarmsOf(oneStatus)},
		{"GET", "/api/v2/alarm/{entityType}/{entityId}", everyone(), a.alarmsAt(listedStatuses)},
		{"GET", "/api/v2/alarms", tenantUsers(), a.alarmsOf(listedStatuses)},
		{"GET", "/api/alarm/highestSeverity/{entityType}/{entityId}", tenantUsers(), a.highestSeverity},
		{"GET", "/api/alarm/types", tenantUsers(), a.alarmTypes},
	}
}

// readFilter reads which alarms are wanted.
type readFilter func(r *http.Request, f *alarm.Filter) error

// oneStatus reads searchStatus or status, not both.
func oneStatus(r *http.Request, f *alarm.Filter) error {
	q := r.URL.Query()
	search, status := q.Get("searchStatus"), q.Get("status")
	switch {
	case search != "" && status != "":
		return invalid("searchStatus, status", "only one of them can be given")
	case search != "":
		s, err := alarm.ParseSearchStatus(search)
		f.Statuses = append(f.Statuses, s)
		return err
	case status != "":
		s, err := alarm.ParseStatus(status)
		f.Statuses = append(f.Statuses, s)
		return err
	}
	return nil
}

// texts reads a parameter that lists texts with commas between them, and may be repeated.
func texts(r *http.Request, name string) (all []string) {
	for _, value := range r.URL.Query()[name] {
		for text := range strings.SplitSeq(value, ",") {
			if text != "" {
				all = append(all, text)
			}
		}
	}
	return all
}

// listedStatuses reads statusList, severityList and typeList.
func listedStatuses(r *http.Request, f *alarm.Filter) error {
	for _, text := range texts(r, "statusList") {
		s, err := alarm.ParseSearchStatus(text)
		if err != nil {
			return err
		}
		f.Statuses = append(f.Statuses, s)
	}
	for _, text := range texts(r, "severityList") {
		s, err := alarm.ParseSeverity(text)
		if err != nil {
			return err
		}
		f.Severities = append(f.Severities, s)
	}
	f.Types = texts(r, "typeList")
	return nil
}

// alarmsAt lists an entity's alarms.
func (a *api) alarmsAt(read readFilter) handler {
	return func(r *http.Request, p auth.Principal) (any, error) {
		e, err := pathEntity(r)
		if err != nil {
			return nil, err
		}
		if err := a.Guard.Thing(r.Context(), p, e, auth.ReadValues); err != nil {
			return nil, err
		}
		tenant := p.Tenant
		if p.Is(entity.SysAdmin) {
			if e.Type != ident.Tenant {
				return nil, auth.Denied()
			}
			tenant = ident.TenantID{ID: e.ID}
		}
		return a.alarmPage(r, alarm.Scope{Tenant: tenant, Entity: e}, read)
	}
}

// alarmsOf lists the alarms of the tenant, or of the customer whose user asks.
func (a *api) alarmsOf(read readFilter) handler {
	return func(r *http.Request, p auth.Principal) (any, error) {
		scope := alarm.Scope{Tenant: p.Tenant}
		if p.Is(entity.CustomerUser) {
			scope.Customer = p.Customer
		}
		return a.alarmPage(r, scope, read)
	}
}

func (a *api) alarmPage(r *http.Request, scope alarm.Scope, read readFilter) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	q := alarm.Query{Scope: scope, Page: asked.Page, Size: asked.Size, Sort: asked.Sort}
	q.Ascending = asked.Sort != "" && !asked.Descending
	q.Search = asked.Search
	if err := read(r, &q.Filter); err != nil {
		return nil, err
	}
	if q.Assignee, err = queryID(r, "assigneeId"); err != nil {
		return nil, err
	}
	if q.Start, err = numberOr(r, "startTime", 0); err != nil {
		return nil, err
	}
	if q.End, err = numberOr(r, "endTime", 0); err != nil {
		return nil, err
	}
	found, err := a.Alarms.List(r.Context(), q)
	if err != nil {
		return nil, err
	}
	called := a.names(scope.Tenant)
	infos := entity.Page[alarmInfoBody]{Total: found.Total}
	for _, one := range found.Items {
		info, err := a.alarmInfoView(r.Context(), called, one)
		if err != nil {
			return nil, err
		}
		infos.Items = append(infos.Items, info)
	}
	return paged(infos, asked, same), nil
}

func (a *api) highestSeverity(r *http.Request, p auth.Principal) (any, error) {
	e, err := pathEntity(r)
	if err != nil {
		return nil, err
	}
	if err := a.Guard.Thing(r.Context(), p, e, auth.ReadValues); err != nil {
		return nil, err
	}
	var f alarm.Filter
	if err := oneStatus(r, &f); err != nil {
		return nil, err
	}
	if f.Assignee, err = queryID(r, "assigneeId"); err != nil {
		return nil, err
	}
	highest, err := a.Alarms.HighestSeverity(r.Context(), alarm.Scope{Tenant: p.Tenant, Entity: e}, f)
	if err != nil {
		return nil, err
	}
	if highest == "" {
		return raw("null"), nil
	}
	return highest, nil
}

func (a *api) alarmTypes(r *http.Request, p auth.Principal) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	found, err := a.Alarms.Types(r.Context(), p.Tenant, asked.Search)
	if err != nil {
		return nil, err
	}
	types := entity.Page[string]{Total: len(found)}
	if asked.Page <= len(found)/asked.Size {
		types.Items = found[asked.Page*asked.Size : min(len(found), (asked.Page+1)*asked.Size)]
	}
	return paged(types, asked, func(kind string) subtype {
		return subtype{refOf(ident.Tenant, p.Tenant.ID), ident.Alarm.String(), kind}
	}), nil
}
