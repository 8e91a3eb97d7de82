// Package messagetypeswitch sends messages along the relation their type names.
package messagetypeswitch

import (
	"context"
	_ "embed"
	"encoding/json"
	"maps"
	"slices"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	to := relations()
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode",
		Name:      "message type switch",
		Category:  rule.Filter,
		Pure:      true,
		Doc:       doc,
		Relations: append(slices.Sorted(maps.Values(to)), rule.Other),
		Default:   json.RawMessage(`{"version":0}`),
		Schema:    json.RawMessage(`{"type":"object"}`),
		New: func(json.RawMessage, rule.Services) (rule.Node, error) {
			return node(to), nil
		},
	}
}

// node is the relation of each type that has one.
type node map[string]rule.Relation

func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	relation, ok := n[in.Type]
	if !ok {
		relation = rule.Other
	}
	turn.Emit(relation, in)
	return nil
}

func relations() map[string]rule.Relation {
	return map[string]rule.Relation{
		rule.PostTelemetry:               "Post telemetry",
		rule.PostAttributes:              "Post attributes",
		rule.ActivityEvent:               "Activity Event",
		rule.InactivityEvent:             "Inactivity Event",
		rule.ConnectEvent:                "Connect Event",
		rule.DisconnectEvent:             "Disconnect Event",
		rule.EntityCreated:               "Entity Created",
		"ENTITY_UPDATED":                 "Entity Updated",
		rule.EntityDeleted:               "Entity Deleted",
		"ENTITY_ASSIGNED":                "Entity Assigned",
		"ENTITY_UNASSIGNED":              "Entity Unassigned",
		"ENTITY_ASSIGNED_FROM_TENANT":    "Entity Assigned From Tenant",
		"ENTITY_ASSIGNED_TO_TENANT":      "Entity Assigned To Tenant",
		rule.AttributesUpdated:           "Attributes Updated",
		rule.AttributesDeleted:           "Attributes Deleted",
		rule.TimeseriesUpdated:           "Timeseries Updated",
		rule.TimeseriesDeleted:           "Timeseries Deleted",
		"RPC_CALL_FROM_SERVER_TO_DEVICE": "RPC Request to Device",
		"TO_SERVER_RPC_REQUEST":          "RPC Request from Device",
		"RPC_QUEUED":                     "RPC Queued",
		"RPC_SENT":                       "RPC Sent",
		"RPC_DELIVERED":                  "RPC Delivered",
		"RPC_SUCCESSFUL":                 "RPC Successful",
		"RPC_TIMEOUT":                    "RPC Timeout",
		"RPC_EXPIRED":                    "RPC Expired",
		"RPC_FAILED":                     "RPC Failed",
		"RPC_DELETED":                    "RPC Deleted",
		"ALARM":                          "Alarm",
		"ALARM_CREATED":                  "Alarm Created",
		"ALARM_UPDATED":                  "Alarm Updated",
		"ALARM_SEVERITY_UPDATED":         "Alarm Severity Updated",
		"ALARM_ACK":                      "Alarm Acknowledged",
		"ALARM_CLEAR":                    "Alarm Cleared",
		"ALARM_ASSIGNED":                 "Alarm Assigned",
		"ALARM_UNASSIGNED":               "Alarm Unassigned",
		"COMMENT_CREATED":                "Comment Created",
		"COMMENT_UPDATED":                "Comment Updated",
		"RELATION_ADD_OR_UPDATE":         "Relation Added or Updated",
		"RELATION_DELETED":               "Relation Deleted",
		"RELATIONS_DELETED":              "All Relations Deleted",
		"REST_API_REQUEST":               "REST API request",
	}
}
