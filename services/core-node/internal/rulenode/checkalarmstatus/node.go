// Package checkalarmstatus asks what became of an alarm.
package checkalarmstatus

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["alarmStatusList"],"properties":{
"alarmStatusList":{"type":"array","minItems":1,"items":{"enum":["ACTIVE_ACK","ACTIVE_UNACK","CLEARED_ACK","CLEARED_UNACK"]}}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.filter.TbCheckAlarmStatusNode",
		Name:      "alarm status filter",
		Category:  rule.Filter,
		Doc:       doc,
		Relations: []rule.Relation{rule.True, rule.False},
		Default:   json.RawMessage(`{"alarmStatusList":["ACTIVE_ACK","ACTIVE_UNACK"]}`),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForStore,
		New:       newNode,
	}
}

type node struct {
	Statuses []alarm.Status `json:"alarmStatusList"`
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	n := &node{services: s}
	if err := json.Unmarshal(raw, n); err != nil {
		return nil, err
	}
	if len(n.Statuses) == 0 {
		return nil, errors.New("alarmStatusList: at least one status is needed")
	}
	all := []alarm.Status{alarm.ActiveAck, alarm.ActiveUnack, alarm.ClearedAck, alarm.ClearedUnack}
	for i, status := range n.Statuses {
		if !slices.Contains(all, status) {
			return nil, fmt.Errorf("alarmStatusList[%d]: %q is none of %v", i, status, all)
		}
	}
	return n, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	var body struct {
		ID reference.Entity `json:"id"`
	}
	if err := json.Unmarshal([]byte(in.Body.Text()), &body); err != nil {
		return fmt.Errorf("read the alarm in the body: %w", err)
	}
	a, err := n.services.Alarms.Get(ctx, n.services.Tenant, body.ID.ID)
	if err != nil {
		return fmt.Errorf("find the alarm: %w", err)
	}
	if slices.Contains(n.Statuses, a.Status()) {
		turn.Emit(rule.True, in)
	} else {
		turn.Emit(rule.False, in)
	}
	return nil
}
