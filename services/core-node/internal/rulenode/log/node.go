// Package log writes messages to the platform's log.
package log

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// defaultScript is what exported chains carry when nobody wrote a script of their own; it needs no interpreter.
const defaultScript = `return '\nIncoming message:\n' + JSON.stringify(msg) + '\nIncoming metadata:\n' + JSON.stringify(metadata);`

type config struct {
	ScriptLang string `json:"scriptLang,omitempty"`
	JSScript   string `json:"jsScript"`
	TbelScript string `json:"tbelScript,omitempty"`
}

// Kind describes the node.
func Kind() rule.Kind {
	standard, _ := json.Marshal(config{ScriptLang: "JS", JSScript: defaultScript, TbelScript: defaultScript})
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbLogNode",
		Name:      "log",
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   standard,
		Schema: json.RawMessage(`{"type":"object","properties":{"scriptLang":{"enum":["JS","TBEL"]},` +
			`"jsScript":{"type":"string"},"tbelScript":{"type":"string"}}}`),
		New: newNode,
	}
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	field, script := "jsScript", c.JSScript
	switch c.ScriptLang {
	case "", "JS":
	case "TBEL":
		field, script = "tbelScript", c.TbelScript
	default:
		return nil, fmt.Errorf("scriptLang: %q is neither JS nor TBEL", c.ScriptLang)
	}
	if script != defaultScript {
		return nil, fmt.Errorf("%s: %w: only the default script is built", field, rule.ErrNotStartable)
	}
	return &node{s.Log}, nil
}

type node struct{ log *slog.Logger }

// Process logs at Debug: what a tenant's devices send must not fill the operator's log.
func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if n.log.Enabled(ctx, slog.LevelDebug) {
		n.log.DebugContext(ctx, "rule message", "tenant_id", in.Tenant, "type", in.Type,
			"data", in.Body.Text(), "metadata", in.Metadata.All())
	}
	turn.Emit(rule.Success, in)
	return nil
}
