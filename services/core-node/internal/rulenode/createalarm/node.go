// Package createalarm makes alarms, or brings the active one up to date.
package createalarm

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/alarming"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

//go:embed doc.md
var doc string

const (
	created rule.Relation = "Created"
	updated rule.Relation = "Updated"
)

const schema = `{"type":"object","required":["alarmType"],"properties":{
"alarmType":{"type":"string","description":"A pattern."},
"severity":{"type":"string","description":"CRITICAL, MAJOR, MINOR, WARNING or INDETERMINATE; a pattern that gives one of them if dynamicSeverity is set."},
"dynamicSeverity":{"type":"boolean"},
"propagate":{"type":"boolean","description":"Show the alarm at what the originator is related to."},
"propagateToOwner":{"type":"boolean"},"propagateToTenant":{"type":"boolean"},
"relationTypes":{"type":"array","items":{"type":"string"},"description":"Relations propagate follows; none means all."},
"useMessageAlarmData":{"type":"boolean","description":"The message's body is the alarm."},
"overwriteAlarmDetails":{"type":"boolean","description":"With useMessageAlarmData: ask the script for the details of an active alarm."},
` + alarming.Schema + `}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbCreateAlarmNode",
		Name:      "create alarm",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{created, updated, rule.False, rule.Success},
		Default: json.RawMessage(`{"alarmType":"General Alarm","severity":"CRITICAL","dynamicSeverity":false,"propagate":false,"propagateToOwner":false,` +
			`"propagateToTenant":false,"relationTypes":[],"useMessageAlarmData":false,"overwriteAlarmDetails":false,"scriptLang":"JS",` +
			`"alarmDetailsBuildJs":` + quoted(alarming.DefaultScript) + `,"alarmDetailsBuildTbel":""}`),
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
	AlarmType         string   `json:"alarmType"`
	Severity          string   `json:"severity"`
	DynamicSeverity   bool     `json:"dynamicSeverity"`
	Propagate         bool     `json:"propagate"`
	PropagateToOwner  bool     `json:"propagateToOwner"`
	PropagateToTenant bool     `json:"propagateToTenant"`
	RelationTypes     []string `json:"relationTypes"`
	UseMessage        bool     `json:"useMessageAlarmData"`
	OverwriteDetails  bool     `json:"overwriteAlarmDetails"`
}

type node struct {
	config      config
	kind        pattern.Pattern
	severity    pattern.Pattern
	propagation alarm.Propagation
	details     *script.Function // nil when nothing asks for it
	services    rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	n := &node{config: c, kind: pattern.Compile(c.AlarmType), severity: pattern.Compile(c.Severity), services: s}
	n.propagation = alarm.Propagation{
		Propagate: c.Propagate, PropagateToOwner: c.PropagateToOwner, PropagateToTenant: c.PropagateToTenant, RelationTypes: c.RelationTypes,
	}
	if !c.UseMessage {
		if c.AlarmType == "" {
			return nil, fmt.Errorf("alarmType: a type is needed")
		}
		if _, err := alarm.ParseSeverity(c.Severity); err != nil && !c.DynamicSeverity && n.severity.Fixed() {
			return nil, fmt.Errorf("severity: %w", err)
		}
	}
	if c.UseMessage && !c.OverwriteDetails {
		return n, nil
	}
	var err error
	n.details, err = c.Prepare(s)
	return n, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	q, err := n.request(in)
	if err != nil {
		return err
	}
	active, is, err := alarming.Active(ctx, n.services, q.Originator, q.Type)
	if err != nil {
		return err
	}
	if q.Details, err = n.detailsOf(ctx, in, q, active, is); err != nil {
		return fmt.Errorf("make the alarm's details: %w", err)
	}
	if is {
		q.EndTs = 0 // now
	}
	result, err := alarming.Raise(ctx, n.services, in, q)
	if err != nil {
		return err
	}
	alarming.Event(turn, n.services, in, result)
	switch result.Outcome {
	case alarm.Created:
		turn.Emit(created, alarming.Message(in, result, alarming.IsNew))
	case alarm.Updated, alarm.SeverityUpdated:
		turn.Emit(updated, alarming.Message(in, result, alarming.IsExisting))
	default:
		turn.Emit(rule.Success, in)
	}
	return nil
}

// detailsOf asks the script, except where the message's own details are to be taken.
func (n *node) detailsOf(ctx context.Context, in *rule.Message, q alarm.Request, active alarm.Alarm, is bool) (json.RawMessage, error) {
	switch {
	case n.config.UseMessage && !(is && n.config.OverwriteDetails):
		return q.Details, nil
	case is:
		return alarming.Details(ctx, n.details, in, active.Details)
	}
	return alarming.Details(ctx, n.details, in, nil)
}

// request is the alarm in asks for, but for its details.
func (n *node) request(in *rule.Message) (alarm.Request, error) {
	if n.config.UseMessage {
		return fromBody(in)
	}
	text := n.severity.Of(in)
	severity, err := alarm.ParseSeverity(text)
	if err != nil {
		return alarm.Request{}, fmt.Errorf("severity: %q is none", text)
	}
	at := in.Timestamp()
	return alarm.Request{
		Originator: in.Originator, Customer: in.Customer, Type: n.kind.Of(in), Severity: severity, StartTs: at, EndTs: at, Propagation: n.propagation,
	}, nil
}

// fromBody is the alarm the message's body is.
func fromBody(in *rule.Message) (alarm.Request, error) {
	var body struct {
		Type      string          `json:"type"`
		Severity  string          `json:"severity"`
		StartTs   int64           `json:"startTs"`
		EndTs     int64           `json:"endTs"`
		Details   json.RawMessage `json:"details"`
		Propagate bool            `json:"propagate"`
		ToOwner   bool            `json:"propagateToOwner"`
		ToTenant  bool            `json:"propagateToTenant"`
		Types     []string        `json:"propagateRelationTypes"`
	}
	if err := json.Unmarshal([]byte(in.Body.Text()), &body); err != nil {
		return alarm.Request{}, fmt.Errorf("read the alarm in the body: %w", err)
	}
	severity, err := alarm.ParseSeverity(body.Severity)
	if err != nil {
		return alarm.Request{}, fmt.Errorf("read the alarm in the body: %w", err)
	}
	return alarm.Request{
		Originator: in.Originator, Customer: in.Customer, Type: body.Type, Severity: severity, StartTs: body.StartTs, EndTs: body.EndTs, Details: body.Details,
		Propagation: alarm.Propagation{
			Propagate: body.Propagate, PropagateToOwner: body.ToOwner, PropagateToTenant: body.ToTenant, RelationTypes: body.Types,
		},
	}, nil
}
