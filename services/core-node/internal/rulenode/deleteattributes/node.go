// Package deleteattributes deletes attributes.
package deleteattributes

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["scope","keys"],"properties":{
"scope":{"enum":["CLIENT_SCOPE","SHARED_SCOPE","SERVER_SCOPE"]},
"keys":{"type":"array","items":{"type":"string"},"description":"Patterns."},
"sendAttributesDeletedNotification":{"type":"boolean","description":"Tell the originator's rule chain of deleted shared and server attributes."},
"notifyDevice":{"type":"boolean","description":"Tell the device of deleted shared attributes."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.telemetry.TbMsgDeleteAttributesNode",
		Name:      "delete attributes",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{"scope":"SERVER_SCOPE","keys":[],"sendAttributesDeletedNotification":false,"notifyDevice":false}`),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForStore,
		New:       newNode,
	}
}

type config struct {
	Scope    string   `json:"scope"`
	Keys     []string `json:"keys"`
	Announce bool     `json:"sendAttributesDeletedNotification"`
	Notify   bool     `json:"notifyDevice"`
}

type node struct {
	scope            storage.Scope
	keys             []pattern.Pattern
	announce, notify bool
	services         rule.Services
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
	return &node{scope, pattern.CompileAll(c.Keys), c.Announce, c.Notify, s}, nil
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	scope := n.scope
	if text, ok := in.Metadata.Get("scope"); ok && text != "" {
		if scope, ok = telemetry.ParseScope(text); !ok {
			return fmt.Errorf("metadata scope: %q is none of CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE", text)
		}
	}
	var keys []string
	for _, key := range n.keys {
		if text := key.Of(in); text != "" {
			keys = append(keys, text)
		}
	}
	if len(keys) > 0 {
		if err := n.services.Eraser.DeleteAttributes(ctx, in.Originator, scope, keys); err != nil {
			return fmt.Errorf("delete attributes: %w", err)
		}
		turn.Deleted(telemetry.Deletion{Tenant: in.Tenant, Entity: in.Originator, Scope: scope, Keys: keys, Notify: n.notifies(in.Metadata)})
		if n.announce && scope != storage.Client {
			body := `{"attributes":` + string(telemetry.AppendTexts(nil, keys)) + `}`
			turn.Raise(raised.Message(n.services, in, rule.AttributesDeleted, body, map[string]string{"scope": telemetry.ScopeName(scope)}))
		}
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) notifies(m rule.Metadata) bool {
	text, _ := m.Get("notifyDevice")
	return n.notify || text == "" || text == "true"
}
