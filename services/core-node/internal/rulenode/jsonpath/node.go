// Package jsonpath replaces a message's body by a part of it.
package jsonpath

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/theory/jsonpath"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// root is the path of the whole body.
const root = "$"

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.transform.TbJsonPathNode",
		Name:      "json path",
		Category:  rule.Transformation,
		Pure:      true,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{"jsonPath":"$"}`),
		Schema: json.RawMessage(`{"type":"object","required":["jsonPath"],"properties":{` +
			`"jsonPath":{"type":"string","minLength":1,"description":"JSONPath of RFC 9535; $ is the whole body."}}}`),
		New: newNode,
	}
}

type node struct {
	path *jsonpath.Path // nil for the whole body
	one  bool           // it leads to one value at most
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c struct {
		JSONPath string `json:"jsonPath"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	text := strings.TrimSpace(c.JSONPath)
	switch {
	case text == "":
		return nil, errors.New("jsonPath: a path is needed")
	case text == root:
		return node{}, nil
	case !strings.HasPrefix(text, root):
		text = root + "." + text
	}
	path, err := jsonpath.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("jsonPath: %w: %w", rule.ErrNotStartable, err)
	}
	return node{path, path.Query().Singular() != nil}, nil
}

func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if n.path == nil {
		turn.Emit(rule.Success, in)
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(in.Body.Text()))
	decoder.UseNumber() // numbers stay as they are written
	var body any
	if err := decoder.Decode(&body); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	found := []any(n.path.Select(body))
	var part any = found
	if n.one {
		if len(found) == 0 {
			return fmt.Errorf("there is nothing at %s", n.path)
		}
		part = found[0]
	} else if found == nil {
		part = []any{}
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(part); err != nil {
		return fmt.Errorf("write the body: %w", err)
	}
	out := *in
	out.Body = rule.TextBody(strings.TrimSuffix(text.String(), "\n"))
	turn.Emit(rule.Success, &out)
	return nil
}
