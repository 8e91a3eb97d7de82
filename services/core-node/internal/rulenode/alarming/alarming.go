// Package alarming makes alarms active and ends them for a message, once however often the message is handled, and tells
// of it as existing chains expect.
package alarming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Names in the metadata of alarm messages.
const (
	IsNew             = "isNewAlarm"
	IsExisting        = "isExistingAlarm"
	IsSeverityUpdated = "isSeverityUpdated"
	IsCleared         = "isClearedAlarm"
	PreviousDetails   = "prevAlarmDetails"
)

// Active returns the alarm of a type that is active at e; ok is false if there is none.
func Active(ctx context.Context, s rule.Services, e ident.EntityID, kind string) (a alarm.Alarm, ok bool, err error) {
	a, err = s.Alarms.Active(ctx, s.Tenant, e, kind)
	if errors.Is(err, storage.ErrNotFound) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("find the active alarm: %w", err)
	}
	return a, true, nil
}

// ID is that of the alarm of a type that Raise makes for in.
func ID(s rule.Services, in *rule.Message, kind string) ident.ID {
	return raised.ID(s, in, "alarm/"+kind)
}

// Raise makes the alarm of q active, for in.
func Raise(ctx context.Context, s rule.Services, in *rule.Message, q alarm.Request) (alarm.Result, error) {
	q.Tenant, q.ID = s.Tenant, ID(s, in, q.Type)
	result, err := s.Alarms.CreateOrUpdate(ctx, q)
	if err != nil {
		return alarm.Result{}, fmt.Errorf("raise alarm %q: %w", q.Type, err)
	}
	return result, nil
}

// Clear ends a, for in; nil details keep those it has. If a was cleared before, but not for in, it is Unchanged.
func Clear(ctx context.Context, s rule.Services, in *rule.Message, a alarm.Alarm, details json.RawMessage) (alarm.Result, error) {
	by, now := raised.ID(s, in, "clear/"+a.Type), s.Now().UnixMilli()
	result, err := s.Alarms.Change(ctx, s.Tenant, a.ID, func(a *alarm.Alarm) error {
		if a.Cleared {
			return nil
		}
		a.Cleared, a.ClearTs, a.ClearedBy = true, now, by
		if details != nil {
			a.Details = details
		}
		return nil
	})
	if err != nil {
		return alarm.Result{}, fmt.Errorf("clear alarm: %w", err)
	}
	if result.Outcome == alarm.Unchanged && result.Now.ClearedBy == by {
		result.Outcome = alarm.Cleared
	}
	return result, nil
}

// ClearedBefore finds the alarm of a type that was cleared for in before; ok is false if none was.
func ClearedBefore(ctx context.Context, s rule.Services, in *rule.Message, kind string) (r alarm.Result, ok bool, err error) {
	a, err := s.Alarms.ClearedBy(ctx, s.Tenant, raised.ID(s, in, "clear/"+kind))
	if errors.Is(err, storage.ErrNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("find the alarm that was cleared: %w", err)
	}
	return alarm.Result{Outcome: alarm.Cleared, Now: a, Old: a}, true, nil
}

// Event raises the event that tells of r.
func Event(turn *rule.Turn, s rule.Services, in *rule.Message, r alarm.Result) {
	types := map[alarm.Outcome]string{
		alarm.Created: rule.EntityCreated, alarm.Updated: rule.EntityUpdated, alarm.SeverityUpdated: rule.EntityUpdated, alarm.Cleared: rule.AlarmClear,
	}
	kind, told := types[r.Outcome]
	if !told {
		return
	}
	event := raised.Message(s, in, kind, r.Now.Text(), nil)
	if event.Originator != r.Now.Originator {
		event.Originator, event.Profile = r.Now.Originator, ident.ID{}
	}
	turn.Raise(event)
}

// Message is the message of type ALARM that goes on instead of in: in's metadata, and flags that are "true".
func Message(in *rule.Message, r alarm.Result, flags ...string) *rule.Message {
	out := *in
	more := make(map[string]string, len(flags))
	for _, flag := range flags {
		more[flag] = "true"
	}
	out.Type, out.Body, out.Metadata = rule.Alarm, rule.TextBody(r.Now.Text()), in.Metadata.WithAll(more)
	return &out
}
