// Package calculatedelta puts the difference of a reading and the one before it into messages.
package calculatedelta

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/recent"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["inputValueKey","outputValueKey"],"properties":{
"inputValueKey":{"type":"string","minLength":1},
"outputValueKey":{"type":"string","minLength":1},
"useCache":{"type":"boolean","description":"Remember the last reading instead of asking the store."},
"addPeriodBetweenMsgs":{"type":"boolean"},
"periodValueKey":{"type":["string","null"]},
"round":{"type":["integer","null"],"minimum":0,"maximum":15,"description":"Digits behind the point."},
"tellFailureIfDeltaIsNegative":{"type":"boolean"},
"excludeZeroDeltas":{"type":"boolean"}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.CalculateDeltaNode",
		Name:      "calculate delta",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success, rule.Other},
		Version:   1,
		Default: json.RawMessage(`{"inputValueKey":"pulseCounter","outputValueKey":"delta","useCache":true,"addPeriodBetweenMsgs":false,` +
			`"periodValueKey":"periodInMs","round":null,"tellFailureIfDeltaIsNegative":true,"excludeZeroDeltas":false}`),
		Schema:  json.RawMessage(schema),
		Waits:   rule.ForStore, // which also keeps an originator's messages one after another
		Upgrade: func(_ int, config map[string]any, _ *rule.NodeEntry) { config["excludeZeroDeltas"] = false },
		New:     newNode,
	}
}

type config struct {
	Input        string `json:"inputValueKey"`
	Output       string `json:"outputValueKey"`
	UseCache     bool   `json:"useCache"`
	AddPeriod    bool   `json:"addPeriodBetweenMsgs"`
	Period       string `json:"periodValueKey"`
	Round        *int   `json:"round"`
	FailNegative bool   `json:"tellFailureIfDeltaIsNegative"`
	ExcludeZero  bool   `json:"excludeZeroDeltas"`
}

type node struct {
	config
	values rule.Values
	last   *recent.Memory[ident.EntityID, memory]
}

// originators is how many originators a node remembers the last reading of.
const originators = 10_000

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	n := &node{values: s.Values, last: recent.New[ident.EntityID, memory](originators)}
	if err := json.Unmarshal(raw, &n.config); err != nil {
		return nil, err
	}
	switch {
	case n.Input == "":
		return nil, errors.New("inputValueKey: a key is needed")
	case n.Output == "":
		return nil, errors.New("outputValueKey: a key is needed")
	case n.AddPeriod && n.Period == "":
		return nil, errors.New("periodValueKey: a key is needed")
	case n.Round != nil && (*n.Round < 0 || *n.Round > maxRound):
		return nil, fmt.Errorf("round: %d is not between 0 and %d", *n.Round, maxRound)
	}
	return n, nil
}

const maxRound = 15

var errNegative = errors.New("the delta is negative")

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.PostTelemetry {
		turn.Emit(rule.Other, in)
		return nil
	}
	body, err := object.Read(in.Body)
	if err != nil {
		return err
	}
	value, ok := body.Get(n.Input)
	if !ok {
		turn.Emit(rule.Other, in)
		return nil
	}
	now := reading{at: in.Timestamp()}
	if now.value, err = strconv.ParseFloat(object.Plain(value), 64); err != nil || math.IsInf(now.value, 0) || math.IsNaN(now.value) {
		return fmt.Errorf("%s: %s is no number", n.Input, value)
	}
	before, known, err := n.before(ctx, in, turn.Tenure(), now)
	if err != nil {
		return err
	}
	delta, period := 0.0, int64(0)
	if known {
		delta, period = now.value-before.value, now.at-before.at
	}
	switch {
	case n.FailNegative && delta < 0:
		return errNegative
	case n.ExcludeZero && delta == 0:
		turn.Emit(rule.Success, in)
		return nil
	}
	body.Set(n.Output, n.text(delta))
	if n.AddPeriod {
		body.Set(n.Period, strconv.AppendInt(nil, period, 10))
	}
	out := *in
	out.Body = body.Body()
	turn.Emit(rule.Success, &out)
	return nil
}

// text writes a delta, rounded half up.
func (n *node) text(delta float64) []byte {
	if n.Round != nil {
		if exact, ok := new(big.Rat).SetString(strconv.FormatFloat(delta, 'f', -1, 64)); ok {
			delta, _ = strconv.ParseFloat(exact.FloatString(*n.Round), 64) // it was a number before
		}
	}
	if delta == 0 {
		delta = 0 // not -0
	}
	format := byte('f')
	if math.Abs(delta) >= 1e21 {
		format = 'e'
	}
	return strconv.AppendFloat(nil, delta, format, -1, 64)
}
