// Package deviceprofile evaluates the alarm rules of device profiles.
package deviceprofile

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/alarming"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/recent"
)

//go:embed doc.md
var doc string

// Relations of alarms.
const (
	created         rule.Relation = "Alarm Created"
	updated         rule.Relation = "Alarm Updated"
	severityUpdated rule.Relation = "Alarm Severity Updated"
	cleared         rule.Relation = "Alarm Cleared"
)

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.profile.TbDeviceProfileNode",
		Name:      "device profile",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{created, updated, severityUpdated, cleared, rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"persistAlarmRulesState":false,"fetchAlarmRulesStateOnStart":false}`),
		Schema: json.RawMessage(`{"type":"object","properties":{"persistAlarmRulesState":{"type":"boolean","description":"Store the state of rules with the device."},` +
			`"fetchAlarmRulesStateOnStart":{"type":"boolean","description":"Not needed: what is stored is read when a device is looked at."}}}`),
		Waits:   rule.ForStore,
		Upgrade: upgrade,
		New:     newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if config["persistAlarmRulesState"] != true {
		config["fetchAlarmRulesStateOnStart"] = false
	}
}

type node struct {
	services rule.Services
	persist  bool
	profiles *recent.Memory[ident.ID, profile]
	devices  *recent.Memory[ident.EntityID, memory]
}

// profile is the rules of a profile for a while.
type profile struct {
	rules   *rules
	expires time.Time
}

const (
	profilesKept = 1000
	profileLife  = 5 * time.Second
	devicesKept  = 50_000
)

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c struct {
		Persist bool `json:"persistAlarmRulesState"`
		Fetch   bool `json:"fetchAlarmRulesStateOnStart"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	return &node{s, c.Persist, recent.New[ident.ID, profile](profilesKept), recent.New[ident.EntityID, memory](devicesKept)}, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Originator.Type == ident.Device {
		if in.Type == periodic {
			return n.tick(ctx, in, turn)
		}
		if err := n.handle(ctx, in, turn); err != nil {
			return err
		}
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) handle(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	r, err := n.rulesOf(ctx, in)
	if err != nil || len(r.alarms) == 0 {
		return err
	}
	s, err := n.look(ctx, in, r)
	if err != nil || s == nil {
		return err
	}
	return n.evaluate(ctx, in, turn, r, s)
}

// evaluate has every alarm of r decided on. It does what can fail by the platform's fault before it remembers anything.
func (n *node) evaluate(ctx context.Context, in *rule.Message, turn *rule.Turn, r *rules, s *snapshot) error {
	var known memory
	made := map[string]progress{}
	if r.remembers {
		var err error
		if known, err = n.recall(ctx, in, turn.Tenure()); err != nil {
			return err
		}
		for name, p := range known.before(in) {
			if r.names[name] {
				made[name] = p
			}
		}
		if known.isPast(in) {
			s.occasion = again
		}
	}
	for _, a := range r.alarms {
		if err := n.decide(ctx, in, turn, a, s, made); err != nil {
			return err
		}
	}
	if !r.remembers || s.occasion == again {
		return nil
	}
	n.arm(in, turn, s.due)
	return n.remember(in, turn, known.after(in, made))
}

// rulesOf returns the rules of in's device, up to five seconds old.
func (n *node) rulesOf(ctx context.Context, in *rule.Message) (*rules, error) {
	id := in.Profile
	if id.IsZero() {
		d, err := n.services.Entities.Devices.Device(ctx, n.services.Tenant, ident.DeviceID{ID: in.Originator.ID})
		if err != nil {
			return nil, fmt.Errorf("find the device: %w", err)
		}
		id = d.Profile
	}
	now := n.services.Now()
	if kept, ok := n.profiles.Get(id); ok && now.Before(kept.expires) {
		return kept.rules, nil
	}
	p, err := n.services.Entities.Devices.Profile(ctx, n.services.Tenant, id)
	if err != nil {
		return nil, fmt.Errorf("find the device profile: %w", err)
	}
	r, err := compile(p.Body)
	if err != nil {
		return nil, err
	}
	n.profiles.Put(id, profile{r, now.Add(profileLife)})
	return r, nil
}

// decide raises, updates or clears one alarm. All rules that may raise it are looked at, so that each counts on.
func (n *node) decide(ctx context.Context, in *rule.Message, turn *rule.Turn, a *alarmKind, s *snapshot, made map[string]progress) error {
	var raising *alarmRule
	for _, r := range a.create {
		if !s.concerns(r, made) {
			continue
		}
		v, err := s.judge(ctx, r, made)
		if err != nil {
			return err
		}
		if v == yes && raising == nil {
			raising = r
		}
	}
	if raising != nil {
		if a.Clear != nil {
			delete(made, a.Clear.name)
		}
		return n.raise(ctx, in, turn, a, raising, s)
	}
	if a.Clear == nil || !s.concerns(a.Clear, made) {
		return nil
	}
	v, err := s.judge(ctx, a.Clear, made)
	if err != nil || v != yes {
		return err
	}
	return n.clear(ctx, in, turn, a, made)
}

func (n *node) raise(ctx context.Context, in *rule.Message, turn *rule.Turn, a *alarmKind, r *alarmRule, s *snapshot) error {
	active, is, err := alarming.Active(ctx, n.services, in.Originator, a.Type)
	if err != nil {
		return err
	}
	switch {
	case is && rank(r.severity) > rank(active.Severity):
		return nil // it was worse before
	case is && s.occasion == timer && r.severity == active.Severity && active.ID != alarming.ID(n.services, in, a.Type):
		return nil // it was said before, and nothing is new
	}
	q := alarm.Request{
		Originator: in.Originator, Customer: in.Customer, Type: a.Type, Severity: r.severity, StartTs: s.at, Details: s.details(r),
		Propagation: alarm.Propagation{
			Propagate: a.Propagate, PropagateToOwner: a.ToOwner, PropagateToTenant: a.ToTenant, RelationTypes: a.RelationTypes,
		},
	}
	result, err := alarming.Raise(ctx, n.services, in, q)
	if err != nil {
		return err
	}
	switch result.Outcome {
	case alarm.Created:
		turn.Emit(created, alarming.Message(in, result, alarming.IsNew))
	case alarm.SeverityUpdated:
		turn.Emit(severityUpdated, alarming.Message(in, result, alarming.IsExisting, alarming.IsSeverityUpdated))
	case alarm.Updated:
		turn.Emit(updated, alarming.Message(in, result, alarming.IsExisting))
	}
	return nil
}

func (n *node) clear(ctx context.Context, in *rule.Message, turn *rule.Turn, a *alarmKind, made map[string]progress) error {
	active, is, err := alarming.Active(ctx, n.services, in.Originator, a.Type)
	if err != nil {
		return err
	}
	var result alarm.Result
	if is {
		result, err = alarming.Clear(ctx, n.services, in, active, nil)
	} else {
		result, is, err = alarming.ClearedBefore(ctx, n.services, in, a.Type)
	}
	if err != nil || !is || result.Outcome != alarm.Cleared {
		return err
	}
	for _, r := range a.all() {
		delete(made, r.name)
	}
	turn.Emit(cleared, alarming.Message(in, result, alarming.IsCleared))
	return nil
}
