// Package saveattributes stores attributes.
package saveattributes

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/processing"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"scope":{"enum":["CLIENT_SCOPE","SHARED_SCOPE","SERVER_SCOPE"]},
"notifyDevice":{"type":"boolean","description":"Tell the device of changed shared attributes."},
"sendAttributesUpdatedNotification":{"type":"boolean","description":"Tell the originator's rule chain of changed shared and server attributes."},
"updateAttributesOnlyOnValueChange":{"type":"boolean","description":"Leave values alone that are stored already."},
"processingSettings":` + processing.Schema + `}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.telemetry.TbMsgAttributesNode",
		Name:      "save attributes",
		Category:  rule.Action,
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

func upgrade(from int, config map[string]any, _ *rule.NodeEntry) {
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
	Scope        string               `json:"scope"`
	NotifyDevice bool                 `json:"notifyDevice"`
	Announce     bool                 `json:"sendAttributesUpdatedNotification"`
	OnlyChanged  bool                 `json:"updateAttributesOnlyOnValueChange"`
	Processing   *processing.Settings `json:"processingSettings"`
}

type node struct {
	scope       storage.Scope
	notify      bool
	announce    bool
	onlyChanged bool
	policy      *processing.Policy
	services    rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	scope, ok := telemetry.ParseScope(c.Scope)
	if !ok {
		return nil, fmt.Errorf("scope: %q is none of CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE", c.Scope)
	}
	policy, err := c.Processing.Compile(processing.Attributes | processing.WebSockets | processing.CalculatedFields)
	return &node{scope, c.NotifyDevice, c.Announce, c.OnlyChanged, policy, s}, err
}

// Waits implements rule.Waiter: who tells of changes has to know what is stored.
func (n *node) Waits() rule.Waits {
	if n.announce && n.onlyChanged {
		return rule.ForStore
	}
	return rule.ForNothing
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.PostAttributes {
		return fmt.Errorf("cannot save: Unsupported msg type %s", in.Type)
	}
	scope := n.scope
	if text, ok := in.Metadata.Get("scope"); ok && text != "" {
		if scope, ok = telemetry.ParseScope(text); !ok {
			return fmt.Errorf("metadata scope: %q is none of CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE", text)
		}
	}
	kvs, typed := in.Body.Typed()
	if !typed {
		var err error
		if kvs, err = telemetry.ParseObject(in.Body.Text()); err != nil {
			return err
		}
	}
	if err := n.save(ctx, in, turn, scope, kvs); err != nil {
		return err
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) save(ctx context.Context, in *rule.Message, turn *rule.Turn, scope storage.Scope, kvs []values.KeyValue) error {
	const seen = processing.Attributes | processing.WebSockets
	actions := n.policy.Of(in)
	if len(kvs) == 0 || actions&seen == 0 {
		return nil
	}
	announced := n.announce && scope != storage.Client
	if announced && n.onlyChanged {
		var err error
		if kvs, err = n.changed(ctx, in, scope, kvs); err != nil || len(kvs) == 0 {
			return err
		}
	}
	turn.Save(telemetry.Save{
		Tenant: in.Tenant, ReceivedAt: in.ReceivedAt, OnlyChanged: n.onlyChanged && !announced, Notify: n.notifies(in.Metadata),
		Silent: actions&processing.WebSockets == 0, LiveOnly: actions&processing.Attributes == 0,
		Write: storage.Write{Entity: in.Originator, Scope: scope, Time: in.Time, Values: kvs},
	})
	if announced {
		text := string(telemetry.AppendObject(nil, kvs))
		turn.Raise(raised.Message(n.services, in, rule.AttributesUpdated, text, map[string]string{"scope": telemetry.ScopeName(scope)}))
	}
	return nil
}

// changed returns those of kvs that are not stored yet, or were stored by this message before, when nobody may have been told.
func (n *node) changed(ctx context.Context, in *rule.Message, scope storage.Scope, kvs []values.KeyValue) ([]values.KeyValue, error) {
	keys := make([]string, len(kvs))
	for i, kv := range kvs {
		keys[i] = kv.Key
	}
	entries, err := n.services.Values.Attributes(ctx, in.Originator, scope, keys)
	if err != nil {
		return nil, fmt.Errorf("compare attributes: %w", err)
	}
	stored := make(map[string]storage.Entry, len(entries))
	for _, e := range entries {
		stored[e.Key] = e
	}
	var changed []values.KeyValue
	for _, kv := range kvs {
		if is, ok := stored[kv.Key]; !ok || is.Value != kv.Value || is.Time == in.Time {
			changed = append(changed, kv)
		}
	}
	return changed, nil
}

func (n *node) notifies(m rule.Metadata) bool {
	text, _ := m.Get("notifyDevice")
	return n.notify || text == "" || text == "true"
}
