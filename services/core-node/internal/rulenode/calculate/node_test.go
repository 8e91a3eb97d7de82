package calculate

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestOperations(t *testing.T) {
	for operation, c := range map[string]struct{ a, b, want float64 }{
		"ADD": {1, 2, 3}, "SUB": {1, 2, -1}, "MULT": {3, 2, 6}, "DIV": {3, 2, 1.5}, "MIN": {3, 2, 2}, "MAX": {3, 2, 3}, "POW": {3, 2, 9},
		"ATAN2": {1, 1, math.Pi / 4}, "HYPOT": {3, 4, 5}, "FLOOR_DIV": {-7, 2, -4}, "FLOOR_MOD": {-7, 3, 2}, "SIN": {1, 0, math.Sin(1)},
		"SINH": {1, 0, math.Sinh(1)}, "COS": {1, 0, math.Cos(1)}, "COSH": {1, 0, math.Cosh(1)}, "TAN": {1, 0, math.Tan(1)}, "TANH": {1, 0, math.Tanh(1)},
		"ACOS": {1, 0, 0}, "ASIN": {1, 0, math.Pi / 2}, "ATAN": {1, 0, math.Pi / 4}, "EXP": {1, 0, math.E}, "EXPM1": {1, 0, math.E - 1},
		"SQRT": {9, 0, 3}, "CBRT": {27, 0, 3}, "GET_EXP": {9, 0, 3}, "LOG": {1, 0, 0}, "LOG10": {1000, 0, 3}, "LOG1P": {0, 0, 0},
		"CEIL": {1.2, 0, 2}, "FLOOR": {1.8, 0, 1}, "ABS": {-2, 0, 2}, "SIGNUM": {-2, 0, -1}, "RAD": {180, 0, math.Pi}, "DEG": {math.Pi, 0, 180},
	} {
		b := rulenodetest.New(t)
		arguments := `{"type":"MESSAGE_BODY","key":"a"}`
		if _, two := binary()[operation]; two {
			arguments += `,{"type":"MESSAGE_METADATA","key":"b"}`
		}
		node := b.Node(Kind(), `{"operation":"`+operation+`","arguments":[`+arguments+`],"result":{"type":"MESSAGE_METADATA","key":"r","resultValuePrecision":10}}`)
		in := b.Message("X", `{"a":`+strconv.FormatFloat(c.a, 'g', -1, 64)+`}`, map[string]string{"b": strconv.FormatFloat(c.b, 'g', -1, 64)})
		got, err := strconv.ParseFloat(b.Process(node, in).Emitted[0].Metadata["r"], 64)
		if err != nil || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s is %v, %v, want %v", operation, got, err, c.want)
		}
	}
	if n := len(unary()) + len(binary()); n != 34 {
		t.Errorf("%d operations", n)
	}
}

func TestWhereNumbersComeFromAndGoTo(t *testing.T) {
	for _, c := range []struct {
		name, arguments, custom, result string
		data                            string
		metadata                        map[string]string
		saved                           []rulenodetest.Saved
	}{
		{
			"by default, at the message's time", `{"name":"x","type":"MESSAGE_BODY","key":"f"}`, "(x - 32) / 1.8", `{"type":"TIME_SERIES","key":"c","resultValuePrecision":2}`,
			`{"f":100}`,
			map[string]string{"ts": "7"},
			[]rulenodetest.Saved{{Scope: storage.Timeseries, Time: 7, Values: `{"c":37.78}`}},
		},
		{
			"attributes, telemetry, constants", `{"name":"a","type":"ATTRIBUTE","key":"${which}"},{"name":"s","type":"ATTRIBUTE","key":"sh","attributeScope":"SHARED_SCOPE"},` +
				`{"name":"t","type":"TIME_SERIES","key":"t"},{"name":"k","type":"CONSTANT","key":"0.5"},{"name":"d","type":"TIME_SERIES","key":"none","defaultValue":1000}`,
			"a + s*10 + t*100 + k + d", `{"type":"ATTRIBUTE","key":"sum","attributeScope":"SHARED_SCOPE","resultValuePrecision":0,"addToBody":true,"addToMetadata":true}`,
			`{"f":100,"sum":1321}`,
			map[string]string{"ts": "7", "which": "at", "sum": "1321"},
			[]rulenodetest.Saved{{Scope: storage.Shared, Time: rulenodetest.NowMillis, Values: `{"sum":1321}`, NotifyDevices: true}},
		},
		{
			"rounded half up", `{"name":"x","type":"CONSTANT","key":"2.345"}`, "-x", `{"type":"MESSAGE_BODY","key":"r","resultValuePrecision":2}`, `{"f":100,"r":-2.35}`, map[string]string{"ts": "7"}, nil,
		},
		{
			"cut off", `{"name":"x","type":"CONSTANT","key":"2.9"}`, "-x", `{"type":"MESSAGE_BODY","key":"r","resultValuePrecision":0}`, `{"f":100,"r":-2}`, map[string]string{"ts": "7"}, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			b.Platform()
			b.Put(b.Device.Entity(), storage.Server, 1, `{"at":1}`)
			b.Put(b.Device.Entity(), storage.Shared, 1, `{"sh":2}`)
			b.Put(b.Device.Entity(), storage.Timeseries, 1, `{"t":"3"}`)
			node := b.Node(Kind(), `{"operation":"CUSTOM","customFunction":"`+c.custom+`","arguments":[`+c.arguments+`],"result":`+c.result+`}`)
			in := b.Message("X", `{"f":100}`, map[string]string{"ts": "7"})
			if _, asked := c.metadata["which"]; asked {
				in.Metadata = in.Metadata.With("which", "at")
			}
			got := b.Process(node, in)
			for i := range c.saved {
				c.saved[i].Entity = b.Device.Entity()
			}
			want := rulenodetest.Outcome{Saved: c.saved, Emitted: []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "X", Data: c.data, Metadata: c.metadata, Originator: b.Device.Entity(),
			}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	for data, want := range map[string]string{`{}`: "no default", `{"a":"x"}`: "no number", `{"a":0}`: "Inf", `[1]`: "object", `{"a":null}`: "no default"} {
		config := `{"operation":"CUSTOM","customFunction":"1/a","arguments":[{"name":"a","type":"MESSAGE_BODY","key":"a"}],"result":{"type":"MESSAGE_BODY","key":"r"}}`
		if why, failed := b.Process(b.Node(Kind(), config), b.Message("X", data, nil)).Failed(); !failed || !strings.Contains(why, want) {
			t.Errorf("%s: %q, %v", data, why, failed)
		}
	}
}

func TestOnlyTheStoreIsWaitedFor(t *testing.T) {
	b := rulenodetest.New(t)
	config := `{"operation":"ABS","arguments":[{"type":"MESSAGE_BODY","key":"a"}],"result":{"type":"MESSAGE_BODY","key":"r"}}`
	if b.Node(Kind(), config).(rule.Waiter).Waits() != rule.ForNothing || b.Node(Kind(), "").(rule.Waiter).Waits() != rule.ForStore {
		t.Error("it waits for the wrong thing")
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{}`:                                     "arguments",
		`{"arguments":[{"type":"X","key":"a"}]}`: "arguments[0].type",
		`{"arguments":[{"type":"CONSTANT"}]}`:    "arguments[0].key",
		`{"arguments":[{"type":"CONSTANT","key":"a"}]}`:                                                                                           "arguments[0].key",
		`{"arguments":[{"type":"ATTRIBUTE","key":"a","attributeScope":"X"}]}`:                                                                     "arguments[0].attributeScope",
		`{"operation":"X","arguments":[{"type":"CONSTANT","key":"1"}]}`:                                                                           "operation",
		`{"operation":"ADD","arguments":[{"type":"CONSTANT","key":"1"}]}`:                                                                         "ADD takes 2",
		`{"operation":"CUSTOM","arguments":[{"type":"CONSTANT","key":"1"}]}`:                                                                      "arguments[0].name",
		`{"operation":"CUSTOM","customFunction":"y","arguments":[{"name":"x","type":"CONSTANT","key":"1"}]}`:                                      "customFunction",
		`{"operation":"ABS","arguments":[{"type":"CONSTANT","key":"1"}]}`:                                                                         "result.key",
		`{"operation":"ABS","arguments":[{"type":"CONSTANT","key":"1"}],"result":{"type":"CONSTANT","key":"1"}}`:                                  "result.type",
		`{"operation":"ABS","arguments":[{"type":"CONSTANT","key":"1"}],"result":{"type":"ATTRIBUTE","attributeScope":"CLIENT_SCOPE","key":"1"}}`: "result.attributeScope",
		`{"operation":"ABS","arguments":[{"type":"CONSTANT","key":"1"}],"result":{"type":"MESSAGE_BODY","key":"1","resultValuePrecision":16}}`:    "result.resultValuePrecision",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
