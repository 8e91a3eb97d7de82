package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// deviceValues are the cases of values (device-api §8.7), over HTTP: all protocols read payloads alike. V05 is a setting of the whole
// platform's and shown by the payload decoder's own tests.
func deviceValues(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	d := &httpDevice{a: a, token: token}
	long := strings.Repeat("k", 255)
	number := func(text string) any { return json.Number(text) }
	for _, c := range []struct {
		id, payload string
		key         string
		want        any
		ts          int64
	}{
		{"V01 a point makes a double", `{"v01":1.0}`, "v01", number("1.0"), 0},
		{"V02 an integral exponent", `{"v02a":1e2}`, "v02a", number("100"), 0},
		{"V02 a fractional exponent", `{"v02b":101E-1}`, "v02b", number("10.1"), 0},
		{"V03 the largest", `{"v03a":9223372036854775807}`, "v03a", number("9223372036854775807"), 0},
		{"V03 larger", `{"v03b":9223372036854775808}`, "v03b", "9223372036854775808", 0},
		{"V04 a text of digits", `{"v04a":"42"}`, "v04a", number("42"), 0},
		{"V04 a text with a point", `{"v04b":"4.0"}`, "v04b", number("4.0"), 0},
		{"V04 leading zeros", `{"v04c":"007"}`, "v04c", number("7"), 0},
		{"V04 a text with an exponent", `{"v04d":"1e5"}`, "v04d", "1e5", 0},
		{"V06 many decimals", `{"v06":0.30000000000000004}`, "v06", number("0.30000000000000004"), 0},
		{"V07 null beside a value", `{"v07a":null,"v07b":1}`, "v07b", number("1"), 0},
		{"V08 nested", `{"v08":{"x":[1,{"y":2}]}}`, "v08", map[string]any{"x": []any{number("1"), map[string]any{"y": number("2")}}}, 0},
		{"V09 array", `{"v09":[1, 2]}`, "v09", []any{number("1"), number("2")}, 0},
		{"V10 the last counts", `{"v10":1,"v10":2}`, "v10", number("2"), 0},
		{"V11 the longest key", `{"` + long + `":1,"k` + long + `":2}`, long, number("1"), 0},
		{"V12 markup", `{"<script>":1,"{{x}}":2,"v12":3}`, "v12", number("3"), 0},
		{"V13 ts without values", `{"ts":1,"v13":5}`, "v13", number("5"), 0},
		{"V13 ts is a key then", `{"ts":1,"v13b":5}`, "ts", number("1"), 0},
		{"V14 a time as text", `{"ts":"1000","values":{"v14a":1}}`, "v14a", number("1"), 1000},
		{"V14 a fractional time", `{"ts":1000.9,"values":{"v14b":1}}`, "v14b", number("1"), 1000},
		{"V15 before the epoch", `{"ts":-5,"values":{"v15":1}}`, "v15", number("1"), -5},
		{"V16 metadata", `{"ts":1000,"values":{"v16":1},"metadata":{"v16b":2}}`, "v16", number("1"), 1000},
		{"V18 a key without a name", `{"":1,"v18":2}`, "v18", number("2"), 0},
	} {
		t.Run(c.id, func(t *testing.T) {
			d.expect(t, http.MethodPost, "telemetry", c.payload, http.StatusOK, "")
			a.eventually(t, func() error {
				found := a.series(t, device, c.key)[c.key]
				if len(found) == 0 || c.ts != 0 && found[0].TS != c.ts || fmt.Sprintf("%T%v", found[0].Value, found[0].Value) != fmt.Sprintf("%T%v", c.want, c.want) {
					return fmt.Errorf("stored %v, want %v", found, c.want)
				}
				return nil
			})
		})
	}
	t.Run("V17 beyond any number", func(t *testing.T) {
		if status, _ := d.do(t, http.MethodPost, "telemetry", `{"v17":1E400}`); status != http.StatusBadRequest {
			t.Errorf("answered %d", status)
		}
	})
	t.Run("V07 V11 V12 V16 V18 what is not stored", func(t *testing.T) {
		var keys []string
		a.rest(t, http.MethodGet, "/api/plugins/telemetry/DEVICE/"+device+"/keys/timeseries", nil, &keys)
		for _, key := range []string{"v07a", "k" + long, "<script>", "{{x}}", "metadata", "v16b", "v17", ""} {
			if slices.Contains(keys, key) {
				t.Errorf("there is a series %q", key)
			}
		}
	})
}
