// Package scriptswitch has a script name the relations a message takes.
package scriptswitch

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

//go:embed doc.md
var doc string

const standard = `function nextRelation(metadata, msg) {
    return ['one','nine'];
}
if(msgType === 'POST_TELEMETRY_REQUEST') {
    return ['two'];
}
return nextRelation(metadata, msg);`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:           "org.thingsboard.rule.engine.filter.TbJsSwitchNode",
		Name:            "switch",
		Category:        rule.Filter,
		Pure:            true,
		Doc:             doc,
		CustomRelations: true,
		Default:         script.Default(standard),
		Schema:          script.Schema("the name of a relation, or an array of names"),
		Waits:           rule.ForScripts,
		New:             newNode,
	}
}

type node struct{ script *script.Function }

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var source script.Source
	if err := json.Unmarshal(raw, &source); err != nil {
		return nil, err
	}
	function, err := source.Prepare(s, script.StandardFields(), script.MessageParameters())
	if err != nil {
		return nil, err
	}
	return node{function}, nil
}

// errChosen is why a message failed that the script itself sent along Failure.
var errChosen = errors.New("the script chose Failure")

func (n node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	relations, err := n.script.Switch(ctx, in)
	if err != nil {
		return err
	}
	for _, relation := range relations {
		if strings.EqualFold(string(relation), string(rule.Failure)) {
			turn.Fail(in, errChosen)
		} else {
			turn.Emit(relation, in)
		}
	}
	return nil
}
