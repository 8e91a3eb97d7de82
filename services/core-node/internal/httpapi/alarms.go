package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
)

// alarmRoutes are those of rest-api §2.9 about one alarm.
func (a *api) alarmRoutes() []route {
	return []route{
		{"POST", "/api/alarm", tenantUsers(), a.saveAlarm},
		{"GET", "/api/alarm/{alarmId}", tenantUsers(), a.alarm},
		{"GET", "/api/alarm/info/{alarmId}", tenantUsers(), a.alarmInfo},
		{"DELETE", "/api/alarm/{alarmId}", tenantUsers(), a.deleteAlarm},
		{"POST", "/api/alarm/{alarmId}/ack", tenantUsers(), a.acknowledgeAlarm},
		{"POST", "/api/alarm/{alarmId}/clear", tenantUsers(), a.clearAlarm},
		{"POST", "/api/alarm/{alarmId}/assign/{userId}", tenantUsers(), a.assignAlarm},
		{"DELETE", "/api/alarm/{alarmId}/assign", tenantUsers(), a.unassignAlarm},
	}
}

// alarmInput is what may be sent of an alarm.
type alarmInput struct {
	ID, AssigneeID                                 *given
	Originator                                     *reference.Entity
	Type                                           string
	Severity                                       string
	StartTs, EndTs, AckTs, ClearTs                 *int64
	Acknowledged, Cleared                          bool
	Details                                        json.RawMessage
	Propagate, PropagateToOwner, PropagateToTenant bool
	PropagateRelationTypes                         []string
}

func (in alarmInput) read(tenant ident.TenantID) (alarm.Request, error) {
	q := alarm.Request{
		Tenant: tenant, Type: in.Type, StartTs: orZero(in.StartTs), EndTs: orZero(in.EndTs),
		Propagation: alarm.Propagation{
			Propagate: in.Propagate, PropagateToOwner: in.PropagateToOwner, PropagateToTenant: in.PropagateToTenant,
			RelationTypes: in.PropagateRelationTypes,
		},
	}
	if !none(in.Details) {
		q.Details = in.Details
	}
	if in.Originator == nil {
		return q, invalid("originator", "is required")
	}
	q.Originator = in.Originator.EntityID
	if in.Severity == "" {
		return q, invalid("severity", "is required")
	}
	var err error
	if q.Severity, err = alarm.ParseSeverity(in.Severity); err != nil {
		return q, err
	}
	if q.EndTs != 0 && q.EndTs < q.StartTs {
		return q, invalid("endTs", "must not be before startTs")
	}
	return q, checkText("type", in.Type)
}

func (a *api) saveAlarm(r *http.Request, p auth.Principal) (any, error) {
	var in alarmInput
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id, err := in.ID.id("id", ident.Alarm)
	if err != nil {
		return nil, err
	}
	assignee, err := in.AssigneeID.id("assigneeId", ident.User)
	if err != nil {
		return nil, err
	}
	if !assignee.IsZero() {
		if _, err := a.Guard.User(r.Context(), p, assignee); err != nil {
			return nil, err
		}
	}
	q, err := in.read(p.Tenant)
	if err != nil {
		return nil, err
	}
	var saved alarm.Alarm
	if id.IsZero() {
		saved, err = a.raiseAlarm(r.Context(), p, q)
	} else {
		saved, err = a.updateAlarm(r.Context(), p, id, q)
	}
	if err != nil {
		return nil, err
	}
	if saved, err = a.honour(r.Context(), saved, in, assignee); err != nil {
		return nil, err
	}
	return saved.View(), nil
}

// raiseAlarm creates an alarm or updates the active one.
func (a *api) raiseAlarm(ctx context.Context, p auth.Principal, q alarm.Request) (alarm.Alarm, error) {
	if err := a.Guard.Thing(ctx, p, q.Originator, auth.WriteValues); err != nil {
		return alarm.Alarm{}, err
	}
	var err error
	if q.Customer, err = a.customerOf(ctx, p.Tenant, q.Originator); err != nil {
		return alarm.Alarm{}, err
	}
	result, err := a.Alarms.CreateOrUpdate(ctx, q)
	return result.Now, err
}

// updateAlarm updates the alarm of that id, whatever its state.
func (a *api) updateAlarm(ctx context.Context, p auth.Principal, id ident.ID, q alarm.Request) (alarm.Alarm, error) {
	old, err := a.oneAlarmOf(ctx, p, id)
	if err != nil {
		return alarm.Alarm{}, err
	}
	if old.Originator != q.Originator || old.Type != q.Type {
		return alarm.Alarm{}, invalid("originator, type", "of an alarm cannot be changed")
	}
	result, err := a.Alarms.Change(ctx, p.Tenant, id, func(is *alarm.Alarm) error {
		is.Severity, is.Propagation = q.Severity, q.Propagation
		if q.StartTs != 0 {
			is.StartTs = q.StartTs
		}
		if q.EndTs != 0 {
			is.EndTs = q.EndTs
		}
		if q.Details != nil {
			is.Details = q.Details
		}
		return nil
	})
	return result.Now, err
}

// honour brings a saved alarm to the state that was sent with it.
func (a *api) honour(ctx context.Context, saved alarm.Alarm, in alarmInput, assignee ident.ID) (alarm.Alarm, error) {
	result := alarm.Result{Now: saved}
	var err error
	if in.Acknowledged && !saved.Acknowledged {
		if result, err = a.Alarms.Acknowledge(ctx, saved.Tenant, saved.ID, orZero(in.AckTs)); err != nil {
			return saved, err
		}
	}
	if in.AssigneeID != nil && saved.Assignee != assignee {
		if result, err = a.Alarms.Assign(ctx, saved.Tenant, saved.ID, assignee); err != nil {
			return saved, err
		}
	}
	if in.Cleared && !saved.Cleared {
		if result, err = a.Alarms.Clear(ctx, saved.Tenant, saved.ID, orZero(in.ClearTs), nil); err != nil {
			return saved, err
		}
	}
	return result.Now, nil
}

// customerOf returns the customer an entity belongs to.
func (a *api) customerOf(ctx context.Context, tenant ident.TenantID, e ident.EntityID) (ident.CustomerID, error) {
	switch e.Type {
	case ident.Device:
		d, err := a.Entities.Devices.Device(ctx, tenant, ident.DeviceID{ID: e.ID})
		return d.Customer, err
	case ident.Asset:
		x, err := a.Entities.Assets.Get(ctx, tenant, e.ID)
		return x.Customer, err
	case ident.User:
		u, err := a.Entities.Users.Get(ctx, tenant, e.ID)
		return u.Customer, err
	case ident.Customer:
		return ident.CustomerID{ID: e.ID}, nil
	}
	return ident.CustomerID{}, nil
}

// oneAlarm returns the alarm of the path that p may touch: a customer's user may do anything with those of the customer.
func (a *api) oneAlarm(r *http.Request, p auth.Principal) (alarm.Alarm, error) {
	id, err := pathID(r, "alarmId")
	if err != nil {
		return alarm.Alarm{}, err
	}
	return a.oneAlarmOf(r.Context(), p, id)
}

func (a *api) oneAlarmOf(ctx context.Context, p auth.Principal, id ident.ID) (alarm.Alarm, error) {
	found, err := a.Alarms.Get(ctx, p.Tenant, id)
	if err != nil {
		return alarm.Alarm{}, a.Guard.Foreign(ctx, ident.EntityID{Type: ident.Alarm, ID: id}, err)
	}
	if p.Is(entity.CustomerUser) && found.Customer != p.Customer {
		return alarm.Alarm{}, auth.Denied()
	}
	return found, nil
}

func (a *api) alarm(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneAlarm(r, p)
	if err != nil {
		return nil, err
	}
	return found.View(), nil
}

// alarmInfo answers 404 of another tenant's alarm, unlike its neighbours (rest-api §1.7).
func (a *api) alarmInfo(r *http.Request, p auth.Principal) (any, error) {
	id, err := pathID(r, "alarmId")
	if err != nil {
		return nil, err
	}
	if _, err := a.Alarms.Get(r.Context(), p.Tenant, id); err != nil {
		return nil, err
	}
	found, err := a.oneAlarmOf(r.Context(), p, id)
	if err != nil {
		return nil, err
	}
	return a.alarmInfoView(r.Context(), a.names(p.Tenant), found)
}

// alarmInfoBody is AlarmInfo (rest-api §3.5).
type alarmInfoBody struct {
	alarm.View
	OriginatorName        *string       `json:"originatorName"`
	OriginatorLabel       *string       `json:"originatorLabel"`
	OriginatorDisplayName *string       `json:"originatorDisplayName"`
	Assignee              *assigneeBody `json:"assignee"`
}

type assigneeBody struct {
	ID        ref     `json:"id"`
	FirstName *string `json:"firstName"`
	LastName  *string `json:"lastName"`
	Email     string  `json:"email"`
}

func (a *api) alarmInfoView(ctx context.Context, called *names, of alarm.Alarm) (alarmInfoBody, error) {
	info := alarmInfoBody{View: of.View()}
	name, label, err := called.of(ctx, of.Originator)
	if err != nil {
		return info, err
	}
	info.OriginatorName, info.OriginatorLabel, info.OriginatorDisplayName = orNull(name), orNull(label), orNull(name)
	if label != "" {
		info.OriginatorDisplayName = &label
	}
	if of.Assignee.IsZero() {
		return info, nil
	}
	u, err := a.Entities.Users.Get(ctx, of.Tenant, of.Assignee)
	if hidden(err) {
		return info, nil // the user was deleted
	}
	info.Assignee = &assigneeBody{refOf(ident.User, u.ID), orNull(u.FirstName), orNull(u.LastName), u.Email}
	return info, err
}

// tellOfAlarm tells the chain of the alarm's originator.
func (a *api) tellOfAlarm(ctx context.Context, kind string, of alarm.Alarm) error {
	name, _, err := a.names(of.Tenant).of(ctx, of.Originator)
	if err != nil {
		return err
	}
	return a.Entities.Tell(ctx, entity.Change{
		Kind: kind, Tenant: of.Tenant, Originator: of.Originator, Data: of.Text(),
		Metadata: map[string]string{"entityName": name, "entityType": of.Originator.Type.String()},
	})
}

func (a *api) deleteAlarm(r *http.Request, p auth.Principal) (any, error) {
	found, err := a.oneAlarm(r, p)
	if err != nil {
		return nil, err
	}
	gone, err := a.Alarms.Delete(r.Context(), p.Tenant, found.ID)
	if err != nil {
		return nil, err
	}
	return true, a.tellOfAlarm(r.Context(), entity.AlarmDelete, gone)
}

func (a *api) acknowledgeAlarm(r *http.Request, p auth.Principal) (any, error) {
	return a.changeAlarm(r, p, entity.AlarmAck, "Alarm was already acknowledged!", func(id ident.ID) (alarm.Result, error) {
		return a.Alarms.Acknowledge(r.Context(), p.Tenant, id, 0)
	})
}

func (a *api) clearAlarm(r *http.Request, p auth.Principal) (any, error) {
	return a.changeAlarm(r, p, entity.AlarmClear, "Alarm was already cleared!", func(id ident.ID) (alarm.Result, error) {
		return a.Alarms.Clear(r.Context(), p.Tenant, id, 0, nil)
	})
}

// changeAlarm makes a change, which must be one, and shows what came of it.
func (a *api) changeAlarm(r *http.Request, p auth.Principal, kind, nothing string, change func(ident.ID) (alarm.Result, error)) (any, error) {
	found, err := a.oneAlarm(r, p)
	if err != nil {
		return nil, err
	}
	result, err := change(found.ID)
	if err != nil {
		return nil, err
	}
	if result.Outcome == alarm.Unchanged {
		return nil, fault.New(fault.Invalid, nothing)
	}
	if err := a.tellOfAlarm(r.Context(), kind, result.Now); err != nil {
		return nil, err
	}
	if kind == entity.AlarmAssigned || kind == entity.AlarmUnassigned {
		return result.Now.View(), nil
	}
	return a.alarmInfoView(r.Context(), a.names(p.Tenant), result.Now)
}

func (a *api) assignAlarm(r *http.Request, p auth.Principal) (any, error) {
	id, err := pathID(r, "userId")
	if err != nil {
		return nil, err
	}
	u, err := a.Guard.User(r.Context(), p, id)
	if err != nil {
		return nil, err
	}
	return a.changeAlarm(r, p, entity.AlarmAssigned, "Alarm was already assigned to this user!", func(id ident.ID) (alarm.Result, error) {
		return a.Alarms.Assign(r.Context(), p.Tenant, id, u.ID)
	})
}

func (a *api) unassignAlarm(r *http.Request, p auth.Principal) (any, error) {
	return a.changeAlarm(r, p, entity.AlarmUnassigned, "Alarm isn't assigned to any user!", func(id ident.ID) (alarm.Result, error) {
		return a.Alarms.Assign(r.Context(), p.Tenant, id, ident.ID{})
	})
}
