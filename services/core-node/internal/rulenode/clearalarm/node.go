// Package clearalarm ends alarms.
package clearalarm

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/alarming"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

//go:embed doc.md
var doc string

const cleared rule.Relation = "Cleared"

const schema = `{"type":"object","required":["alarmType"],"properties":{
"alarmType":{"type":"string","description":"A pattern."},
` + alarming.Schema + `}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbClearAlarmNode",
		Name:      "clear alarm",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{cleared, rule.False},
		Default: json.RawMessage(`{"alarmType":"General Alarm","scriptLang":"JS","alarmDetailsBuildJs":` + quoted(alarming.DefaultScript) +
			`,"alarmDetailsBuildTbel":""}`),
		Schema: json.RawMessage(schema),
		Waits:  rule.ForScripts,
		New:    newNode,
	}
}

func quoted(text string) string {
	quoted, _ := json.Marshal(text) // texts always encode
	return string(quoted)
}

type config struct {
	alarming.Script
	AlarmType string `json:"alarmType"`
}

type node struct {
	kind     pattern.Pattern
	details  *script.Function
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.AlarmType == "" {
		return nil, errors.New("alarmType: a type is needed")
	}
	details, err := c.Prepare(s)
	return &node{pattern.Compile(c.AlarmType), details, s}, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	a, is, err := n.find(ctx, in)
	if err != nil {
		return err
	}
	result, before, err := alarm.Result{}, false, error(nil)
	if !is || a.Cleared {
		kind := a.Type
		if !is {
			kind = n.kind.Of(in)
		}
		if result, before, err = alarming.ClearedBefore(ctx, n.services, in, kind); err != nil {
			return err
		}
		if !before {
			turn.Emit(rule.False, in)
			return nil
		}
	} else if result, err = n.clear(ctx, in, a); err != nil {
		return err
	}
	if result.Outcome != alarm.Cleared { // somebody else was faster
		turn.Emit(rule.False, in)
		return nil
	}
	alarming.Event(turn, n.services, in, result)
	turn.Emit(cleared, alarming.Message(in, result, alarming.IsCleared))
	return nil
}

// find returns the alarm in is about: the originator itself, or the one of the type that is active at it.
func (n *node) find(ctx context.Context, in *rule.Message) (alarm.Alarm, bool, error) {
	if in.Originator.Type != ident.Alarm {
		return alarming.Active(ctx, n.services, in.Originator, n.kind.Of(in))
	}
	a, err := n.services.Alarms.Get(ctx, n.services.Tenant, in.Originator.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("find the alarm: %w", err)
	}
	return a, true, nil
}

func (n *node) clear(ctx context.Context, in *rule.Message, a alarm.Alarm) (alarm.Result, error) {
	details, err := alarming.Details(ctx, n.details, in, a.Details)
	if err != nil {
		return alarm.Result{}, fmt.Errorf("make the alarm's details: %w", err)
	}
	return alarming.Clear(ctx, n.services, in, a, details)
}
