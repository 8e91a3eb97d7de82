// Package calculate does arithmetic with numbers of messages, attributes and telemetry.
package calculate

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["operation","arguments","result"],"properties":{
"operation":{"type":"string","description":"ADD, SUB, MULT, DIV, SIN … or CUSTOM."},
"customFunction":{"type":["string","null"],"maxLength":256,"description":"For CUSTOM: arithmetic of the arguments' names."},
"arguments":{"type":"array","minItems":1,"maxItems":16,"items":{"type":"object","required":["type","key"],"properties":{
"name":{"type":["string","null"]},"type":{"enum":["ATTRIBUTE","TIME_SERIES","MESSAGE_BODY","MESSAGE_METADATA","CONSTANT"]},
"key":{"type":"string","description":"A pattern; the number itself for CONSTANT."},
"attributeScope":{"enum":["CLIENT_SCOPE","SHARED_SCOPE","SERVER_SCOPE",null]},"defaultValue":{"type":["number","null"]}}}},
"result":{"type":"object","required":["type","key"],"properties":{
"type":{"enum":["ATTRIBUTE","TIME_SERIES","MESSAGE_BODY","MESSAGE_METADATA"]},"key":{"type":"string","description":"A pattern."},
"attributeScope":{"enum":["SHARED_SCOPE","SERVER_SCOPE",null]},"resultValuePrecision":{"type":"integer","minimum":0,"maximum":15},
"addToBody":{"type":"boolean"},"addToMetadata":{"type":"boolean"}}}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.math.TbMathNode",
		Name:      "math function",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default: json.RawMessage(`{"operation":"CUSTOM","customFunction":"(x - 32) / 1.8",` +
			`"arguments":[{"name":"x","type":"MESSAGE_BODY","key":"temperature","attributeScope":null,"defaultValue":null}],` +
			`"result":{"type":"TIME_SERIES","key":"temperatureCelsius","attributeScope":null,"resultValuePrecision":2,"addToBody":false,"addToMetadata":false}}`),
		Schema: json.RawMessage(schema),
		Waits:  rule.ForStore,
		New:    newNode,
	}
}

type node struct {
	arguments []argument
	compute   func(numbers []float64) float64
	result    result
	services  rule.Services
}

// Waits implements rule.Waiter.
func (n *node) Waits() rule.Waits {
	for _, a := range n.arguments {
		if a.kind == attribute || a.kind == series {
			return rule.ForStore
		}
	}
	if n.result.kind == attribute || n.result.kind == series {
		return rule.ForStore // one after another, so that what was saved last is of the last message
	}
	return rule.ForNothing
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	numbers := make([]float64, len(n.arguments))
	for i, a := range n.arguments {
		var err error
		if numbers[i], err = a.value(ctx, in, n.services.Values); err != nil {
			return err
		}
	}
	number := n.compute(numbers)
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return fmt.Errorf("the result is %v", number)
	}
	value := n.result.round(number)
	out, err := n.result.put(in, value)
	if err != nil {
		return err
	}
	if scope, at, saved := n.result.where(in); saved {
		turn.Save(telemetry.Save{
			Tenant: in.Tenant, ReceivedAt: in.ReceivedAt, Notify: scope == storage.Shared,
			Write: storage.Write{
				Entity: in.Originator, Scope: scope, Time: at, Values: []values.KeyValue{{Key: n.result.key.Of(in), Value: value}},
			},
		})
	}
	turn.Emit(rule.Success, out)
	return nil
}

// round rounds half up; to no digits at all it cuts off instead.
func (r result) round(number float64) values.Value {
	if r.digits == 0 && math.Abs(number) < 1<<63 {
		return values.OfLong(int64(number))
	}
	if exact, ok := new(big.Rat).SetString(strconv.FormatFloat(number, 'f', -1, 64)); ok {
		if rounded, err := strconv.ParseFloat(exact.FloatString(r.digits), 64); err == nil {
			number = rounded
		}
	}
	return values.OfDouble(number)
}

// put writes the result into the parts of the message it belongs to.
func (r result) put(in *rule.Message, v values.Value) (*rule.Message, error) {
	out := *in
	text := telemetry.AppendValue(nil, v)
	if r.toBody {
		body, err := object.Read(in.Body)
		if err != nil {
			return nil, err
		}
		body.Set(r.key.Of(in), text)
		out.Body = body.Body()
	}
	if r.toMetadata {
		out.Metadata = in.Metadata.With(r.key.Of(in), string(text))
	}
	return &out, nil
}

// where says in which scope and at what time the result is stored.
func (r result) where(in *rule.Message) (scope storage.Scope, at int64, saved bool) {
	switch r.kind {
	case attribute:
		return r.scope, in.Time, true
	case series:
		return storage.Timeseries, in.Timestamp(), true
	}
	return 0, 0, false
}
