package deviceprofile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Types of conditions.
const (
	simple    = "SIMPLE"
	duration  = "DURATION"
	repeating = "REPEATING"
)

// verdict is what a rule says.
type verdict int

const (
	no verdict = iota
	notYet
	yes
)

// occasion is what rules are looked at for.
type occasion int

const (
	message occasion = iota
	again            // a message that has been handled, and others after it
	timer            // none: time has passed
)

// snapshot is what rules see of a device.
type snapshot struct {
	services rule.Services
	device   ident.EntityID
	occasion occasion
	at       int64 // ms
	known    map[key]values.Value
	changed  map[key]struct{}
	due      int64 // when the first rule has held long enough if nothing comes, ms by the clock; 0: none has to
}

// concerns reports whether r may say something else than before: a key of it changed, or it waits for its time.
func (s *snapshot) concerns(r *alarmRule, made map[string]progress) bool {
	if s.occasion == timer {
		_, waits := made[r.name]
		return waits && r.Condition.Spec.Type == duration
	}
	for _, f := range r.Condition.Filters {
		if _, ok := s.changed[f.Key]; ok {
			return true
		}
	}
	return false
}

// judge evaluates r, and moves its progress on. What has been counted says nothing again.
func (s *snapshot) judge(ctx context.Context, r *alarmRule, made map[string]progress) (verdict, error) {
	if s.occasion == again && r.remembers() {
		return no, nil
	}
	holds, err := s.holds(ctx, r)
	switch {
	case err != nil:
		return no, err
	case !holds:
		delete(made, r.name)
		return no, nil
	case !r.remembers():
		return yes, nil
	}
	return s.progress(ctx, r, made)
}

// holds evaluates r's condition. Without a message there is nothing new: what held still does, but for the schedule.
func (s *snapshot) holds(ctx context.Context, r *alarmRule) (bool, error) {
	holds := r.Schedule.active(s.at)
	if s.occasion == timer {
		return holds, nil
	}
	for _, f := range r.Condition.Filters {
		if !holds {
			break
		}
		v, ok := s.value(f)
		if !ok {
			holds = false
			break
		}
		var err error
		resolve := func(d dynamic) (values.Value, bool, error) { return s.resolve(ctx, d) }
		if holds, err = f.Predicate.holds(v, resolve); err != nil {
			return false, err
		}
	}
	return holds, nil
}

// progress counts an event that holds, or sees how long it has held: by the times of messages, or, while none comes, by the clock.
func (s *snapshot) progress(ctx context.Context, r *alarmRule, made map[string]progress) (verdict, error) {
	needed, err := s.needed(ctx, r.Condition.Spec)
	if err != nil {
		return no, err
	}
	p, held := made[r.name]
	if r.Condition.Spec.Type == repeating {
		made[r.name] = progress{Count: min(p.Count+1, max(needed, 1))}
		return reached(p.Count+1 >= needed), nil
	}
	now := s.services.Now().UnixMilli()
	if s.occasion == timer {
		enough := now-p.Began > needed
		s.wait(enough, p.Began+needed+1)
		return reached(enough), nil
	}
	if began := now - max(s.at-p.Since, 0); !held {
		p = progress{Since: s.at, Began: now}
	} else if began > p.Began+late.Milliseconds() {
		p.Began = began // messages are handled later than they come: what they say counts
	}
	made[r.name] = p
	enough := s.at-p.Since > needed
	s.wait(enough, p.Began+needed+1)
	return reached(enough), nil
}

// wait notes when a rule has held long enough if nothing comes, unless it has.
func (s *snapshot) wait(enough bool, due int64) {
	if !enough && due > 0 && (s.due == 0 || due < s.due) {
		s.due = due
	}
}

func reached(enough bool) verdict {
	if enough {
		return yes
	}
	return notYet
}

// needed is how many events, or how many ms, it takes.
func (s *snapshot) needed(ctx context.Context, sp spec) (int64, error) {
	n := sp.Value
	if sp.Type == repeating {
		n = sp.Count
	}
	v, ok, err := s.resolve(ctx, sp.Predicate)
	if err != nil {
		return 0, err
	}
	if f, isNumber := numberOf(v); ok && isNumber {
		n = int64(f)
	}
	if sp.Type == duration {
		one, _ := unit(sp.Unit) // checked
		n *= one.Milliseconds()
	}
	return n, nil
}

func (s *snapshot) value(f filter) (values.Value, bool) {
	if f.Key.Type == fixed {
		return constant(f.Value)
	}
	v, ok := s.known[f.Key]
	return v, ok
}

// resolve finds what to compare with: an attribute of the device, its customer or its tenant, else the fixed value.
func (s *snapshot) resolve(ctx context.Context, d dynamic) (values.Value, bool, error) {
	if d.Source != nil && d.Source.Attribute != "" {
		v, ok, err := s.source(ctx, d.Source.Type, d.Source.Attribute, d.Source.Inherit)
		if err != nil || ok {
			return v, ok, err
		}
	}
	v, ok := d.fixed()
	return v, ok, nil
}

func (s *snapshot) source(ctx context.Context, kind, name string, inherit bool) (values.Value, bool, error) {
	switch kind {
	case "CURRENT_DEVICE":
		if v, ok := s.known[key{attribute, name}]; ok || !inherit {
			return v, ok, nil
		}
		return s.source(ctx, "CURRENT_CUSTOMER", name, true)
	case "CURRENT_CUSTOMER":
		customer, err := subject.CustomerOf(ctx, s.services, s.device)
		if err != nil && rule.PlatformFault(err) {
			return values.Value{}, false, err
		}
		if err == nil {
			if v, ok, err := s.of(ctx, customer.Entity(), name); err != nil || ok {
				return v, ok, err
			}
		}
		if !inherit {
			return values.Value{}, false, nil
		}
		return s.of(ctx, s.services.Tenant.Entity(), name)
	case "CURRENT_TENANT":
		return s.of(ctx, s.services.Tenant.Entity(), name)
	}
	return values.Value{}, false, nil
}

func (s *snapshot) of(ctx context.Context, e ident.EntityID, name string) (values.Value, bool, error) {
	entries, err := s.services.Values.Attributes(ctx, e, storage.Server, []string{name})
	if err != nil {
		return values.Value{}, false, fmt.Errorf("read attribute %q of %s: %w", name, e, err)
	}
	if len(entries) == 0 {
		return values.Value{}, false, nil
	}
	return entries[0].Value, true, nil
}

// details are those of an alarm that r raises; nil if it says none.
func (s *snapshot) details(r *alarmRule) json.RawMessage {
	details := map[string]string{}
	if r.Details != "" {
		text := r.Details
		for _, f := range r.Condition.Filters {
			if v, ok := s.value(f); ok {
				text = strings.ReplaceAll(text, "${"+f.Key.Key+"}", history.Text(v))
			}
		}
		details["data"] = text
	}
	if r.Dashboard != nil && r.Dashboard.ID != "" {
		details["dashboardId"] = r.Dashboard.ID
	}
	if len(details) == 0 {
		return nil
	}
	text, err := json.Marshal(details)
	if err != nil {
		return nil // texts always encode
	}
	return text
}
