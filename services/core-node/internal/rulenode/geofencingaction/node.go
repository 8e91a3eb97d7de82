// Package geofencingaction tells when a position comes into an area, leaves it, or stays.
package geofencingaction

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/geofence"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const (
	entered rule.Relation = "Entered"
	left    rule.Relation = "Left"
	inside  rule.Relation = "Inside"
	outside rule.Relation = "Outside"
)

const schema = `{"type":"object","required":["perimeterType"],"properties":{` + geofence.Schema + `,
"minInsideDuration":{"type":"integer","minimum":0},"minInsideDurationTimeUnit":{"enum":["MILLISECONDS","SECONDS","MINUTES","HOURS","DAYS"]},
"minOutsideDuration":{"type":"integer","minimum":0},"minOutsideDurationTimeUnit":{"enum":["MILLISECONDS","SECONDS","MINUTES","HOURS","DAYS"]},
"reportPresenceStatusOnEachMessage":{"type":"boolean"}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.geo.TbGpsGeofencingActionNode",
		Name:      "gps geofencing events",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success, entered, left, inside, outside},
		Version:   1,
		Default: json.RawMessage(`{` + geofence.Default + `,"minInsideDuration":1,"minInsideDurationTimeUnit":"MINUTES",` +
			`"minOutsideDuration":1,"minOutsideDurationTimeUnit":"MINUTES","reportPresenceStatusOnEachMessage":true}`),
		Schema: json.RawMessage(schema),
		Waits:  rule.ForStore,
		Upgrade: func(_ int, config map[string]any, _ *rule.NodeEntry) {
			config["reportPresenceStatusOnEachMessage"] = false
		},
		New: newNode,
	}
}

type config struct {
	geofence.Config
	Inside      int64  `json:"minInsideDuration"`
	InsideUnit  string `json:"minInsideDurationTimeUnit"`
	Outside     int64  `json:"minOutsideDuration"`
	OutsideUnit string `json:"minOutsideDurationTimeUnit"`
	EachMessage bool   `json:"reportPresenceStatusOnEachMessage"`
}

type node struct {
	fence           *geofence.Fence
	inside, outside int64 // ms
	each            bool
	services        rule.Services
	attribute       string
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	fence, err := c.Compile()
	if err != nil {
		return nil, err
	}
	n := &node{fence: fence, each: c.EachMessage, services: s, attribute: "geofencing_" + s.Node.String()}
	if n.inside, err = duration("minInsideDuration", c.Inside, c.InsideUnit); err != nil {
		return nil, err
	}
	n.outside, err = duration("minOutsideDuration", c.Outside, c.OutsideUnit)
	return n, err
}

func duration(field string, amount int64, unit string) (int64, error) {
	one, ok := map[string]time.Duration{
		"MILLISECONDS": time.Millisecond, "SECONDS": time.Second, "MINUTES": time.Minute, "HOURS": time.Hour, "DAYS": 24 * time.Hour,
	}[unit]
	if !ok {
		return 0, fmt.Errorf("%sTimeUnit: %q is no unit", field, unit)
	}
	if amount < 0 || amount > 1e9 {
		return 0, fmt.Errorf("%s: %d is not between 0 and 1000000000", field, amount)
	}
	return amount * one.Milliseconds(), nil
}

// state is what the originator's attribute keeps.
type state struct {
	Inside bool  `json:"inside"`
	Since  int64 `json:"stateSwitchTime"`
	Stayed bool  `json:"stayed"`
	// By is what the message did that changed it, and Told the relation it took: it may be handled again.
	By   string        `json:"by"`
	Told rule.Relation `json:"told"`
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	within, err := n.fence.Holds(in)
	if err != nil {
		return err
	}
	was, known, err := n.read(ctx, in)
	if err != nil {
		return err
	}
	by := raised.ID(n.services, in, "geofencing").String()
	if known && was.By == by {
		turn.Emit(was.Told, in)
		return nil
	}
	at, is := in.Timestamp(), was
	presence, least := outside, n.outside
	if within {
		presence, least = inside, n.inside
	}
	switch {
	case !known || was.Inside != within:
		is = state{Inside: within, Since: at, Told: left}
		if within {
			is.Told = entered
		}
	case !was.Stayed && at-was.Since > least:
		is.Stayed, is.Told = true, presence
	case n.each:
		turn.Emit(presence, in)
		return nil
	default:
		turn.Emit(rule.Success, in)
		return nil
	}
	is.By = by
	if err := n.keep(in, turn, is); err != nil {
		return err
	}
	turn.Emit(is.Told, in)
	return nil
}

func (n *node) read(ctx context.Context, in *rule.Message) (was state, known bool, err error) {
	entries, err := n.services.Values.Attributes(ctx, in.Originator, storage.Server, []string{n.attribute})
	if err != nil {
		return was, false, fmt.Errorf("read where the originator was: %w", err)
	}
	if len(entries) == 0 || json.Unmarshal([]byte(entries[0].Text()), &was) != nil { // somebody else's value is none
		return state{}, false, nil
	}
	return was, true, nil
}

func (n *node) keep(in *rule.Message, turn *rule.Turn, is state) error {
	text, err := json.Marshal(is)
	if err != nil {
		return fmt.Errorf("keep where the originator is: %w", err)
	}
	turn.Save(telemetry.Save{
		Tenant: in.Tenant, ReceivedAt: in.ReceivedAt,
		Write: storage.Write{
			Entity: in.Originator, Scope: storage.Server, Time: in.Time,
			Values: []values.KeyValue{{Key: n.attribute, Value: values.OfJSON(string(text))}},
		},
	})
	return nil
}
