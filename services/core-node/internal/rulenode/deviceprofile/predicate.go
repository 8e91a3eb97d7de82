package deviceprofile

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
)

// predicate is a test of one value.
type predicate struct {
	Type       string      `json:"type"`
	Operation  string      `json:"operation"`
	Value      dynamic     `json:"value"`
	IgnoreCase bool        `json:"ignoreCase"`
	Predicates []predicate `json:"predicates"` // of COMPLEX
}

// dynamic is a value to compare with: fixed, or an attribute.
type dynamic struct {
	Default json.RawMessage `json:"defaultValue"`
	User    json.RawMessage `json:"userValue"`
	Source  *struct {
		Type      string `json:"sourceType"`
		Attribute string `json:"sourceAttribute"`
		Inherit   bool   `json:"inherit"`
	} `json:"dynamicValue"`
}

// fixed is the value without its source.
func (d dynamic) fixed() (values.Value, bool) {
	for _, text := range []json.RawMessage{d.User, d.Default} {
		if len(text) == 0 || string(text) == "null" {
			continue
		}
		return constant(text)
	}
	return values.Value{}, false
}

// constant reads a JSON value of a configuration.
func constant(text json.RawMessage) (values.Value, bool) {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return values.Value{}, false
	}
	switch v := v.(type) {
	case bool:
		return values.OfBool(v), true
	case float64:
		return values.OfDouble(v), true
	case string:
		return values.OfString(v), true
	}
	return values.Value{}, false
}

// maxDepth bounds predicates within predicates.
const maxDepth = 16

func (p predicate) check(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("predicates more than %d deep", maxDepth)
	}
	switch p.Type {
	case "NUMERIC", "STRING", "BOOLEAN":
		return nil
	case "COMPLEX":
		for _, inner := range p.Predicates {
			if err := inner.check(depth + 1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("predicate type %q is unknown", p.Type)
}

// holds reports whether v passes; resolve gives what to compare with.
func (p predicate) holds(v values.Value, resolve func(dynamic) (values.Value, bool, error)) (bool, error) {
	if p.Type == "COMPLEX" {
		return p.complex(v, resolve)
	}
	with, ok, err := resolve(p.Value)
	if err != nil || !ok {
		return false, err
	}
	switch p.Type {
	case "NUMERIC":
		a, isNumber := numberOf(v)
		b, alsoNumber := numberOf(with)
		return isNumber && alsoNumber && compareNumbers(p.Operation, a, b), nil
	case "BOOLEAN":
		same := boolOf(v) == boolOf(with)
		return same == (p.Operation != "NOT_EQUAL"), nil
	}
	a, b := history.Text(v), history.Text(with)
	if p.IgnoreCase {
		a, b = strings.ToLower(a), strings.ToLower(b)
	}
	return compareTexts(p.Operation, a, b), nil
}

func (p predicate) complex(v values.Value, resolve func(dynamic) (values.Value, bool, error)) (bool, error) {
	any := p.Operation == "OR"
	for _, inner := range p.Predicates {
		is, err := inner.holds(v, resolve)
		if err != nil {
			return false, err
		}
		if is == any {
			return any, nil
		}
	}
	return !any, nil
}

func numberOf(v values.Value) (float64, bool) {
	switch v.Kind {
	case values.Long:
		return float64(v.Long()), true
	case values.Double:
		return v.Double(), true
	case values.Bool:
		if v.Bool() {
			return 1, true
		}
		return 0, true
	}
	f, err := strconv.ParseFloat(v.Text(), 64)
	return f, err == nil && !math.IsNaN(f)
}

func boolOf(v values.Value) bool {
	if v.Kind == values.Bool {
		return v.Bool()
	}
	if n, ok := numberOf(v); ok {
		return n != 0
	}
	return strings.EqualFold(v.Text(), "true")
}

func compareNumbers(operation string, a, b float64) bool {
	switch operation {
	case "EQUAL":
		return a == b
	case "NOT_EQUAL":
		return a != b
	case "GREATER":
		return a > b
	case "LESS":
		return a < b
	case "GREATER_OR_EQUAL":
		return a >= b
	case "LESS_OR_EQUAL":
		return a <= b
	}
	return false
}

func compareTexts(operation, a, b string) bool {
	switch operation {
	case "EQUAL":
		return a == b
	case "NOT_EQUAL":
		return a != b
	case "STARTS_WITH":
		return strings.HasPrefix(a, b)
	case "ENDS_WITH":
		return strings.HasSuffix(a, b)
	case "CONTAINS":
		return strings.Contains(a, b)
	case "NOT_CONTAINS":
		return !strings.Contains(a, b)
	case "IN", "NOT_IN":
		in := false
		for _, one := range strings.Split(b, ",") {
			in = in || strings.TrimSpace(one) == a
		}
		return in == (operation == "IN")
	}
	return false
}
