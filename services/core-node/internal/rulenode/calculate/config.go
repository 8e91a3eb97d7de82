package calculate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/formula"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Where numbers come from and go to.
const (
	attribute = "ATTRIBUTE"
	series    = "TIME_SERIES"
	body      = "MESSAGE_BODY"
	metadata  = "MESSAGE_METADATA"
	constant  = "CONSTANT"
)

const (
	mostArguments = 16
	mostDigits    = 15
)

type config struct {
	Operation string `json:"operation"`
	Custom    string `json:"customFunction"`
	Arguments []struct {
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		Key     string   `json:"key"`
		Scope   string   `json:"attributeScope"`
		Default *float64 `json:"defaultValue"`
	} `json:"arguments"`
	Result *struct {
		Type       string `json:"type"`
		Key        string `json:"key"`
		Scope      string `json:"attributeScope"`
		Precision  int    `json:"resultValuePrecision"`
		ToBody     bool   `json:"addToBody"`
		ToMetadata bool   `json:"addToMetadata"`
	} `json:"result"`
}

type argument struct {
	name, kind string
	key        pattern.Pattern
	scope      storage.Scope
	fallback   *float64
	number     float64 // of a constant
}

type result struct {
	kind               string
	key                pattern.Pattern
	scope              storage.Scope
	digits             int
	toBody, toMetadata bool
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	n := &node{services: s}
	if len(c.Arguments) == 0 || len(c.Arguments) > mostArguments {
		return nil, fmt.Errorf("arguments: %d of them, not 1 to %d", len(c.Arguments), mostArguments)
	}
	for i := range c.Arguments {
		a, err := c.argument(i)
		if err != nil {
			return nil, fmt.Errorf("arguments[%d].%w", i, err)
		}
		n.arguments = append(n.arguments, a)
	}
	var err error
	if n.compute, err = c.operation(n.arguments); err != nil {
		return nil, err
	}
	n.result, err = c.result()
	return n, err
}

func (c config) argument(i int) (argument, error) {
	given := c.Arguments[i]
	a := argument{name: given.Name, kind: given.Type, key: pattern.Compile(given.Key), fallback: given.Default}
	if given.Key == "" {
		return a, errors.New("key: a key is needed")
	}
	var err error
	switch given.Type {
	case series, body, metadata:
	case attribute:
		a.scope, err = scope(given.Scope)
	case constant:
		if a.number, err = strconv.ParseFloat(given.Key, 64); err != nil {
			err = fmt.Errorf("key: %q is no number", given.Key)
		}
	default:
		err = fmt.Errorf("type: %q is unknown", given.Type)
	}
	return a, err
}

// scope reads a scope; none is the server's.
func scope(name string) (storage.Scope, error) {
	if name == "" {
		return storage.Server, nil
	}
	s, ok := telemetry.ParseScope(name)
	if !ok {
		return s, fmt.Errorf("attributeScope: %q is unknown", name)
	}
	return s, nil
}

func (c config) result() (result, error) {
	given := c.Result
	if given == nil || given.Key == "" {
		return result{}, errors.New("result.key: a key is needed")
	}
	if given.Precision < 0 || given.Precision > mostDigits {
		return result{}, fmt.Errorf("result.resultValuePrecision: %d is not between 0 and %d", given.Precision, mostDigits)
	}
	r := result{
		kind: given.Type, key: pattern.Compile(given.Key), digits: given.Precision,
		toBody: given.ToBody || given.Type == body, toMetadata: given.ToMetadata || given.Type == metadata,
	}
	switch given.Type {
	case series, body, metadata:
		return r, nil
	case attribute:
		var err error
		if r.scope, err = scope(given.Scope); err != nil {
			return r, fmt.Errorf("result.%w", err)
		}
		if r.scope == storage.Client {
			return r, errors.New("result.attributeScope: client attributes are the device's own")
		}
		return r, nil
	}
	return r, fmt.Errorf("result.type: %q is unknown", given.Type)
}

func (c config) operation(arguments []argument) (func([]float64) float64, error) {
	if c.Operation == "CUSTOM" {
		names := make([]string, len(arguments))
		for i, a := range arguments {
			if names[i] = a.name; a.name == "" {
				return nil, fmt.Errorf("arguments[%d].name: a name is needed", i)
			}
		}
		f, err := formula.Parse(c.Custom, names)
		if err != nil {
			return nil, fmt.Errorf("customFunction: %w", err)
		}
		return func(numbers []float64) float64 {
			variables := make(map[string]float64, len(names))
			for i, name := range names {
				variables[name] = numbers[i]
			}
			return f.Value(variables)
		}, nil
	}
	if of, ok := unary()[c.Operation]; ok {
		if len(arguments) != 1 {
			return nil, fmt.Errorf("arguments: %s takes 1", c.Operation)
		}
		return func(n []float64) float64 { return of(n[0]) }, nil
	}
	if of, ok := binary()[c.Operation]; ok {
		if len(arguments) != 2 {
			return nil, fmt.Errorf("arguments: %s takes 2", c.Operation)
		}
		return func(n []float64) float64 { return of(n[0], n[1]) }, nil
	}
	return nil, fmt.Errorf("operation: %q is unknown", c.Operation)
}

func unary() map[string]func(float64) float64 {
	return map[string]func(float64) float64{
		"SIN": math.Sin, "SINH": math.Sinh, "COS": math.Cos, "COSH": math.Cosh, "TAN": math.Tan, "TANH": math.Tanh, "ACOS": math.Acos,
		"ASIN": math.Asin, "ATAN": math.Atan, "EXP": math.Exp, "EXPM1": math.Expm1, "SQRT": math.Sqrt, "CBRT": math.Cbrt,
		"GET_EXP": math.Logb, "LOG": math.Log, "LOG10": math.Log10, "LOG1P": math.Log1p, "CEIL": math.Ceil, "FLOOR": math.Floor,
		"ABS": math.Abs, "SIGNUM": formula.Signum, "RAD": formula.Radians, "DEG": formula.Degrees,
	}
}

func binary() map[string]func(a, b float64) float64 {
	return map[string]func(a, b float64) float64{
		"ADD":  func(a, b float64) float64 { return a + b },
		"SUB":  func(a, b float64) float64 { return a - b },
		"MULT": func(a, b float64) float64 { return a * b },
		"DIV":  func(a, b float64) float64 { return a / b },
		"MIN":  math.Min, "MAX": math.Max, "POW": math.Pow, "ATAN2": math.Atan2, "HYPOT": math.Hypot,
		"FLOOR_DIV": func(a, b float64) float64 { return math.Floor(math.Trunc(a) / math.Trunc(b)) },
		"FLOOR_MOD": func(a, b float64) float64 {
			a, b = math.Trunc(a), math.Trunc(b)
			return a - b*math.Floor(a/b)
		},
	}
}

// value finds the argument's number.
func (a argument) value(ctx context.Context, in *rule.Message, from rule.Values) (float64, error) {
	if a.kind == constant {
		return a.number, nil
	}
	key := a.key.Of(in)
	text, ok, err := a.text(ctx, in, from, key)
	if err != nil {
		return 0, fmt.Errorf("argument %s: %w", key, err)
	}
	if !ok {
		if a.fallback != nil {
			return *a.fallback, nil
		}
		return 0, fmt.Errorf("argument %s: there is none, and no default", key)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("argument %s: %q is no number", key, text)
	}
	return n, nil
}

func (a argument) text(ctx context.Context, in *rule.Message, from rule.Values, key string) (string, bool, error) {
	switch a.kind {
	case metadata:
		text, ok := in.Metadata.Get(key)
		return text, ok, nil
	case body:
		members, err := object.Read(in.Body)
		if err != nil {
			return "", false, err
		}
		value, ok := members.Get(key)
		return object.Plain(value), ok && value.Kind() != 'n', nil
	}
	var entries []storage.Entry
	var err error
	if a.kind == series {
		entries, err = from.Latest(ctx, in.Originator, []string{key})
	} else {
		entries, err = from.Attributes(ctx, in.Originator, a.scope, []string{key})
	}
	if err != nil || len(entries) == 0 {
		return "", false, err
	}
	return history.Text(entries[0].Value), true, nil
}
