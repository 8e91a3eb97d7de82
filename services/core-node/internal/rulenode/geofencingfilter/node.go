// Package geofencingfilter asks whether a position is within an area.
package geofencingfilter

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/geofence"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.geo.TbGpsGeofencingFilterNode",
		Name:      "gps geofencing filter",
		Category:  rule.Filter,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Default:   json.RawMessage(`{` + geofence.Default + `}`),
		Schema:    json.RawMessage(`{"type":"object","required":["perimeterType"],"properties":{` + geofence.Schema + `}}`),
		New:       newNode,
	}
}

type node struct{ fence *geofence.Fence }

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c geofence.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	fence, err := c.Compile()
	return &node{fence}, err
}

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	inside, err := n.fence.Holds(in)
	if err != nil {
		return err
	}
	if inside {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}
