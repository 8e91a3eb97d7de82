// Package saveattributes stores attributes.
package saveattributes

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"scope":{"enum":["CLIENT_SCOPE","SHARED_SCOPE","SERVER_SCOPE"]},
"notifyDevice":{"type":"boolean","description":"Tell the device of changed shared attributes."},
"sendAttributesUpdatedNotification":{"type":"boolean"},
"updateAttributesOnlyOnValueChange":{"type":"boolean","description":"Leave values alone that are stored already."},
"processingSettings":{"type":"object","properties":{"type":{"enum":["ON_EVERY_MESSAGE","WEBSOCKETS_ONLY","DEDUPLICATE","ADVANCED"]}}}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.telemetry.TbMsgAttributesNode",
		Name:      "save attributes",
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   3,
		Default: json.RawMessage(`{"scope":"SERVER_SCOPE","notifyDevice":false,"sendAttributesUpdatedNotification":false,` +
			`"updateAttributesOnlyOnValueChange":true,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`),
		Schema:  json.RawMessage(schema),
		Upgrade: upgrade,
		New:     newNode,
	}
}

func upgrade(from int, config map[string]any) {
	if _, there := config["updateAttributesOnlyOnValueChange"]; from < 1 && !there {
		config["updateAttributesOnlyOnValueChange"] = false
	}
	if from < 2 {
		for _, field := range [...]string{"notifyDevice", "sendAttributesUpdatedNotification", "updateAttributesOnlyOnValueChange"} {
			if text, ok := config[field].(string); ok {
				config[field] = text == "true"
			}
		}
		if config["notifyDevice"] == nil {
			config["notifyDevice"] = true
		}
		if config["sendAttributesUpdatedNotification"] == nil {
			config["sendAttributesUpdatedNotification"] = false
		}
	}
	config["processingSettings"] = map[string]any{"type": "ON_EVERY_MESSAGE"}
}

type config struct {
	Scope        string `json:"scope"`
	NotifyDevice bool   `json:"notifyDevice"`
	Announce     bool   `json:"sendAttributesUpdatedNotification"`
	OnlyChanged  bool   `json:"updateAttributesOnlyOnValueChange"`
	Processing   *struct {
		Type string `json:"type"`
	} `json:"processingSettings"`
}

type node struct {
	scope       storage.Scope
	notify      bool
	onlyChanged bool
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	scope, ok := telemetry.ParseScope(c.Scope)
	if !ok {
		return nil, fmt.Errorf("scope: %q is none of CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE", c.Scope)
	}
	if c.Announce && scope != storage.Client {
		return nil, fmt.Errorf("sendAttributesUpdatedNotification: %w: it is not built yet", rule.ErrNotStartable)
	}
	if c.Processing != nil && c.Processing.Type != "ON_EVERY_MESSAGE" {
		switch c.Processing.Type {
		case "WEBSOCKETS_ONLY", "DEDUPLICATE", "ADVANCED":
			return nil, fmt.Errorf("processingSettings.type: %w: %s is not built yet", rule.ErrNotStartable, c.Processing.Type)
		}
		return nil, fmt.Errorf("processingSettings.type: %q is none of ON_EVERY_MESSAGE, WEBSOCKETS_ONLY, DEDUPLICATE, ADVANCED", c.Processing.Type)
	}
	return &node{scope, c.NotifyDevice, c.OnlyChanged}, nil
}

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.PostAttributes {
		return fmt.Errorf("unsupported message type %s", in.Type)
	}
	scope := n.scope
	if text, ok := in.Metadata.Get("scope"); ok && text != "" {
		if scope, ok = telemetry.ParseScope(text); !ok {
			return fmt.Errorf("metadata scope: %q is none of CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE", text)
		}
	}
	values, typed := in.Body.Typed()
	if !typed {
		var err error
		if values, err = telemetry.ParseObject(in.Body.Text()); err != nil {
			return err
		}
	}
	if len(values) > 0 {
		turn.Save(telemetry.Save{
			Tenant: in.Tenant, ReceivedAt: in.ReceivedAt, OnlyChanged: n.onlyChanged, Notify: n.notifies(in.Metadata),
			Write: storage.Write{Entity: in.Originator, Scope: scope, Time: in.Time, Values: values},
		})
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) notifies(m rule.Metadata) bool {
	text, _ := m.Get("notifyDevice")
	return n.notify || text == "" || text == "true"
}
