// Package log writes messages to the platform's log.
package log

import (
	"context"
	_ "embed"
	"encoding/json"
	"log/slog"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

//go:embed doc.md
var doc string

// defaultScript is what exported chains carry when nobody wrote a script of their own; it needs no interpreter.
const defaultScript = `return '\nIncoming message:\n' + JSON.stringify(msg) + '\nIncoming metadata:\n' + JSON.stringify(metadata);`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbLogNode",
		Name:      "log",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   script.Default(defaultScript),
		Schema:    script.Schema("the text that is logged"),
		Waits:     rule.ForScripts,
		New:       newNode,
	}
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var source script.Source
	if err := json.Unmarshal(raw, &source); err != nil {
		return nil, err
	}
	body, _, err := source.Pick(script.StandardFields())
	if err != nil {
		return nil, err
	}
	if body == defaultScript {
		return plain{s.Log}, nil
	}
	function, err := source.Prepare(s, script.StandardFields(), script.MessageParameters())
	if err != nil {
		return nil, err
	}
	return scripted{function, s.Log}, nil
}

// plain logs what the default script would say, without running it. Both nodes log at Debug: what a tenant's devices send
// must not fill the operator's log.
type plain struct{ log *slog.Logger }

// Waits implements rule.Waiter.
func (plain) Waits() rule.Waits { return rule.ForNothing }

func (n plain) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if n.log.Enabled(ctx, slog.LevelDebug) {
		n.log.DebugContext(ctx, "rule message", "tenant_id", in.Tenant, "type", in.Type,
			"data", in.Body.Text(), "metadata", in.Metadata.All())
	}
	turn.Emit(rule.Success, in)
	return nil
}

// scripted logs what a script says, which is run whatever is logged: a message it fails for goes along Failure at every level.
type scripted struct {
	script *script.Function
	log    *slog.Logger
}

func (n scripted) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	text, err := n.script.Text(ctx, in)
	if err != nil {
		return err
	}
	n.log.DebugContext(ctx, "rule message", "tenant_id", in.Tenant, "text", text)
	turn.Emit(rule.Success, in)
	return nil
}
