// Package renamekeys gives members of a message's body, or of its metadata, other names.
package renamekeys

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["renameIn","renameKeysMapping"],"properties":{
"renameIn":{"enum":["DATA","METADATA"]},
"renameKeysMapping":{"type":"object","minProperties":1,"additionalProperties":{"type":"string"},"description":"New names by old names."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbRenameKeysNode",
		Name:      "rename keys",
		Category:  rule.Transformation,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   2,
		Default:   json.RawMessage(`{"renameIn":"DATA","renameKeysMapping":{"temperatureCelsius":"temperature"}}`),
		Schema:    json.RawMessage(schema),
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if config["renameIn"] == nil {
		config["renameIn"] = string(part.FromFlag(config["fromMetadata"]))
	}
	delete(config, "fromMetadata")
}

type node struct {
	In      part.Part         `json:"renameIn"`
	Mapping map[string]string `json:"renameKeysMapping"`
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	n := &node{}
	if err := json.Unmarshal(raw, n); err != nil {
		return nil, err
	}
	if err := n.In.Check("renameIn"); err != nil {
		return nil, err
	}
	if len(n.Mapping) == 0 {
		return nil, errors.New("renameKeysMapping: at least one key is needed")
	}
	for from, to := range n.Mapping {
		if from == "" || to == "" {
			return nil, fmt.Errorf("renameKeysMapping: %q to %q: a name is missing", from, to)
		}
	}
	return n, nil
}

// Process renames all at once, so that two keys may change places.
func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	out := *in
	if n.In == part.Metadata {
		out.Metadata = n.metadata(in.Metadata)
	} else {
		body, err := object.Read(in.Body)
		switch {
		case err == nil:
			out.Body = n.body(in.Body, body)
		case !errors.Is(err, object.ErrNot):
			return err
		}
	}
	turn.Emit(rule.Success, &out)
	return nil
}

func (n *node) body(was rule.Body, body *object.Object) rule.Body {
	var renamed []object.Member
	for from, to := range n.Mapping {
		if value, ok := body.Get(from); ok {
			renamed = append(renamed, object.Member{Name: to, Value: value})
		}
	}
	if len(renamed) == 0 {
		return was
	}
	result := &object.Object{}
	for _, m := range body.Members() {
		to, ok := n.Mapping[m.Name]
		if !ok {
			to = m.Name
		}
		result.Set(to, m.Value)
	}
	for _, m := range renamed { // what got a name wins over what had it
		result.Set(m.Name, m.Value)
	}
	return result.Body()
}

func (n *node) metadata(m rule.Metadata) rule.Metadata {
	all, renamed := m.All(), map[string]string{}
	for from, to := range n.Mapping {
		if text, ok := all[from]; ok {
			renamed[to] = text
		}
	}
	if len(renamed) == 0 {
		return m
	}
	for from := range n.Mapping {
		delete(all, from)
	}
	return rule.Metadata{}.WithAll(all).WithAll(renamed)
}
