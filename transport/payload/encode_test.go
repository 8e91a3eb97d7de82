package payload

import (
	"math"
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

func TestAppendValues(t *testing.T) {
	got := string(AppendValues(nil, []telemetry.KeyValue{
		long("l", -5), double("d", 42), boolean("b", true), text("s", "a\"\n<ü"), nested("j", `{"x":[1]}`), {Key: "none"},
	}))
	if want := `{"l":-5,"d":42.0,"b":true,"s":"a\"\n<ü","j":{"x":[1]},"none":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDoublesShowThatTheyAre(t *testing.T) {
	for want, f := range map[string]float64{
		"0.0": 0, "-0.0": math.Copysign(0, -1), "42.0": 42, "21.5": 21.5, "0.001": 0.001, "9.99E-4": 0.000999,
		"9999999.0": 9999999, "1.0E7": 1e7, "1.0E10": 1e10, "-1.25E-12": -1.25e-12, "1.7976931348623157E308": math.MaxFloat64,
		"5.0E-324": math.SmallestNonzeroFloat64, "null": math.Inf(1),
	} {
		if got := string(AppendValue(nil, telemetry.OfDouble(f))); got != want {
			t.Errorf("%v is written %s, want %s", f, got, want)
		}
	}
}

func TestAppendAttributes(t *testing.T) {
	client, shared := []telemetry.KeyValue{long("a", 1)}, []telemetry.KeyValue{long("c", 3), long("d", 4)}
	for want, got := range map[string][]byte{
		`{"client":{"a":1},"shared":{"c":3,"d":4}}`: AppendAttributes(nil, client, shared),
		`{"client":{"a":1}}`:                        AppendAttributes(nil, client, nil),
		`{"shared":{"c":3,"d":4}}`:                  AppendAttributes(nil, nil, shared),
		`{}`:                                        AppendAttributes(nil, nil, nil),
		`{"deleted":["x","y\""]}`:                   AppendDeleted(nil, []string{"x", `y"`}),
		`{"deleted":[]}`:                            AppendDeleted(nil, nil),
	} {
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
