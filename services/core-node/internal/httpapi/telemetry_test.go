package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const serverScope = storage.Server

func active(is bool) []telemetry.KeyValue {
	return []telemetry.KeyValue{{Key: "active", Value: telemetry.OfBool(is)}}
}

type point struct {
	TS    int64
	Value any
}

// demoDevice starts a platform and returns its administrator and the path of one device's values.
func demoDevice(t *testing.T) (c *httpapitest.Client, path string) {
	t.Helper()
	p := httpapitest.Start(t)
	return p.Admin(t), "/api/plugins/telemetry/DEVICE/" + p.Demo(t, "Test Device A1").ID.String()
}

func read(t *testing.T, c *httpapitest.Client, path string) map[string][]point {
	t.Helper()
	var got map[string][]point
	c.Get(path, &got)
	return got
}

func TestCase57Types(t *testing.T) {
	c, path := demoDevice(t)
	c.Do("POST", path+"/timeseries/ANY", `{"temp":25,"hum":42.0,"ok":true,"s":"x","j":{"a":1}}`).Expect(200)
	loose := read(t, c, path+"/values/timeseries?keys=temp,hum,ok,s,j")
	strict := read(t, c, path+"/values/timeseries?useStrictDataTypes=true")
	values := func(in map[string][]point) map[string]any {
		out := map[string]any{}
		for key, points := range in {
			out[key] = points[0].Value
		}
		return out
	}
	if diff := cmp.Diff(map[string]any{"temp": "25", "hum": "42.0", "ok": "true", "s": "x", "j": `{"a":1}`}, values(loose)); diff != "" {
		t.Errorf("as text (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"temp": 25.0, "hum": 42.0, "ok": true, "s": "x", "j": map[string]any{"a": 1.0}}, values(strict)); diff != "" {
		t.Errorf("strict (-want +got):\n%s", diff)
	}
	var keys []string
	c.Get(path+"/keys/timeseries", &keys)
	if diff := cmp.Diff([]string{"hum", "j", "ok", "s", "temp"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestCase58Range(t *testing.T) {
	c, path := demoDevice(t)
	c.Do("POST", path+"/timeseries/ANY", `[{"ts":1,"values":{"k":1}},{"ts":2,"values":{"k":2}}]`).Expect(200)
	for query, want := range map[string][]point{
		"":              {{2, "2"}, {1, "1"}},
		"&orderBy=ASC":  {{1, "1"}, {2, "2"}},
		"&limit=1":      {{2, "2"}},
		"&orderBy=asc":  {{1, "1"}, {2, "2"}},
		"&orderBy=DESC": {{2, "2"}, {1, "1"}},
	} {
		for _, route := range []string{"/values/timeseries", "/values/timeseries/history"} {
			got := read(t, c, path+route+"?keys=k&startTs=0&endTs=3"+query)
			if diff := cmp.Diff(map[string][]point{"k": want}, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", query, diff)
			}
		}
	}
	if got := read(t, c, path+"/values/timeseries?keys=k&startTs=1&endTs=2"); len(got["k"]) != 1 {
		t.Errorf("the end of a range is not part of it: %v", got)
	}
	c.Do("GET", path+"/values/timeseries?keys=k&startTs=0&endTs=3&limit=0", nil).ExpectText(400)
	c.Do("GET", path+"/values/timeseries?keys=k&startTs=0&endTs=3&orderBy=UP", nil).ExpectError(400, 31)
	if body := c.Do("GET", path+"/values/timeseries?startTs=0&endTs=3", nil).Expect(200).Body; string(body) != "{}" {
		t.Errorf("no keys answer %s", body)
	}
}

func TestCase59BadTelemetry(t *testing.T) {
	c, path := demoDevice(t)
	for _, body := range []string{
		`[]`, `{}`, ``, `{`, `7`, `{"a":null}`, `[{"ts":1,"values":{"a":null}}]`, `{"":1}`, `{" ":1}`, `{"a":1}x`, `{"ts":"x","values":{"a":1}}`,
		`{"ts":1,"values":7}`, `{"a":1E400}`, `[[{"a":1}]]`, "{\"a\":\"\xff\"}", `{"` + strings.Repeat("k", 256) + `":1}`,
	} {
		c.Do("POST", path+"/timeseries/ANY", body).ExpectText(400)
	}
	var keys []string
	c.Get(path+"/keys/timeseries", &keys)
	if len(keys) != 0 {
		t.Errorf("keys %v were stored", keys)
	}
}

func TestCase60UnknownKey(t *testing.T) {
	c, path := demoDevice(t)
	before := time.Now().UnixMilli()
	got := read(t, c, path+"/values/timeseries?keys=none")
	if points := got["none"]; len(points) != 1 || points[0].Value != nil || points[0].TS < before {
		t.Errorf("latest of an unknown key: %v", got)
	}
}

func TestCase61Aggregates(t *testing.T) {
	c, path := demoDevice(t)
	c.Do("POST", path+"/timeseries/ANY",
		`[{"ts":10000,"values":{"k":1}},{"ts":10500,"values":{"k":2}},{"ts":11000,"values":{"k":3}},{"ts":11999,"values":{"k":5}}]`).Expect(200)
	for agg, want := range map[string][]point{
		"AVG":   {{10500, "1.5"}, {11500, "4.0"}},
		"SUM":   {{10500, "3"}, {11500, "8"}},
		"COUNT": {{10500, "2"}, {11500, "2"}},
		"MIN":   {{10500, "1"}, {11500, "3"}},
		"MAX":   {{10500, "2"}, {11500, "5"}},
	} {
		got := read(t, c, path+"/values/timeseries?keys=k&startTs=10000&endTs=12000&interval=1000&agg="+agg)
		if diff := cmp.Diff(map[string][]point{"k": want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", agg, diff)
		}
	}
}

func TestCase62BadRanges(t *testing.T) {
	c, path := demoDevice(t)
	path += "/values/timeseries?keys=k&agg="
	c.Do("GET", path+"AVG&startTs=0&endTs=702000&interval=1000", nil).ExpectText(400)
	c.Do("GET", path+"AVG&startTs=10&endTs=9&interval=1000", nil).ExpectText(400)
	c.Do("GET", path+"FOO&startTs=0&endTs=1", nil).ExpectError(400, 31)
	c.Do("GET", path+"AVG&startTs=0&endTs=x", nil).ExpectError(400, 31)
	c.Do("GET", path+"AVG&startTs=0&endTs=1&intervalType=DECADE", nil).ExpectError(400, 31)
}

func TestCase63MaxOfText(t *testing.T) {
	c, path := demoDevice(t)
	c.Do("POST", path+"/timeseries/ANY", `[{"ts":1,"values":{"k":"a"}},{"ts":2,"values":{"k":"c"}},{"ts":3,"values":{"k":"b"}}]`).Expect(200)
	got := read(t, c, path+"/values/timeseries?keys=k&startTs=0&endTs=10&interval=10&agg=MAX")
	if diff := cmp.Diff(map[string][]point{"k": {{5, "c"}}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCase64SaveAttributes(t *testing.T) {
	p := httpapitest.Start(t)
	c, id := p.Admin(t), p.Demo(t, "Test Device A1").ID.String()
	const prefix = "/api/plugins/telemetry/"
	for _, path := range []string{id + "/SHARED_SCOPE", "DEVICE/" + id + "/SHARED_SCOPE", "DEVICE/" + id + "/attributes/SERVER_SCOPE"} {
		c.Do("POST", prefix+path, `{"a":1}`).Expect(200)
	}
	c.Do("POST", prefix+"DEVICE/"+id+"/CLIENT_SCOPE", `{"a":1}`).ExpectText(400)
	c.Do("POST", prefix+"DEVICE/"+id+"/FOO", `{"a":1}`).ExpectError(400, 31)
	for _, body := range []string{`[{"a":1}]`, `{}`, ``, `{"a":null}`, `{"<b>":1}`, `{"a":`} {
		c.Do("POST", prefix+"DEVICE/"+id+"/SHARED_SCOPE", body).ExpectText(400)
	}
	c.Do("POST", prefix+"FOO/"+id+"/SHARED_SCOPE", `{"a":1}`).ExpectError(400, 31)
	c.Do("POST", prefix+"ASSET/"+id+"/SHARED_SCOPE", `{"a":1}`).ExpectText(404)
	c.Do("POST", prefix+"DEVICE/x/SHARED_SCOPE", `{"a":1}`).ExpectError(400, 31)
}

func TestCase65ReadAttributes(t *testing.T) {
	c, path := demoDevice(t)
	before := time.Now().UnixMilli()
	c.Do("POST", path+"/SHARED_SCOPE", `{"a":1,"b":"x","a,b":true}`).Expect(200)
	c.Do("POST", path+"/SERVER_SCOPE", `{"c":{"d":[1]}}`).Expect(200)
	type attribute struct {
		LastUpdateTs int64
		Key          string
		Value        any
	}
	get := func(query string) map[string]any {
		var got []attribute
		c.Get(path+query, &got)
		out := map[string]any{}
		for _, a := range got {
			if a.LastUpdateTs < before {
				t.Errorf("%s was updated at %d", a.Key, a.LastUpdateTs)
			}
			out[a.Key] = a.Value
		}
		return out
	}
	for query, want := range map[string]map[string]any{
		"/values/attributes?keys=a,b,none":                   {"a": 1.0, "b": "x"},
		"/values/attributes?key=a,b":                         {"a,b": true},
		"/values/attributes/SERVER_SCOPE":                    {"c": map[string]any{"d": []any{1.0}}},
		"/values/attributes":                                 {"a": 1.0, "b": "x", "a,b": true, "c": map[string]any{"d": []any{1.0}}},
		"/values/attributes/CLIENT_SCOPE":                    {},
		"/values/attributes/SHARED_SCOPE?key=a,b&keys=a,b,c": {"a,b": true},
	} {
		if diff := cmp.Diff(want, get(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	var keys []string
	c.Get(path+"/keys/attributes/SHARED_SCOPE", &keys)
	if diff := cmp.Diff([]string{"a", "a,b", "b"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	c.Do("GET", path+"/values/attributes/FOO", nil).ExpectError(400, 31)
}

func TestCase66DeleteTelemetry(t *testing.T) {
	c, path := demoDevice(t)
	for ts := 1; ts <= 5; ts++ {
		c.Do("POST", path+"/timeseries/ANY", fmt.Sprintf(`{"ts":%d,"values":{"k":%d}}`, ts, ts)).Expect(200)
	}
	remove := path + "/timeseries/delete"
	c.Do("DELETE", remove, nil).ExpectText(400)
	c.Do("DELETE", remove+"?keys=k", nil).ExpectText(400)
	c.Do("DELETE", remove+"?keys=k&startTs=2&endTs=3", nil).Expect(200)
	if got := read(t, c, path+"/values/timeseries?keys=k&startTs=0&endTs=9"); len(got["k"]) != 4 {
		t.Errorf("left after deleting one: %v", got)
	}
	c.Do("DELETE", remove+"?keys=k&startTs=4&endTs=9&rewriteLatestIfDeleted=true", nil).Expect(200)
	if got := read(t, c, path+"/values/timeseries?keys=k"); got["k"][0].TS != 3 {
		t.Errorf("latest is %v, want the newest that remains", got)
	}
	c.Do("DELETE", remove+"?keys=k&deleteAllDataForKeys=true", nil).Expect(200)
	if got := read(t, c, path+"/values/timeseries"); len(got) != 0 {
		t.Errorf("left after deleting all: %v", got)
	}
}

func TestCase67DeleteAttributes(t *testing.T) {
	p := httpapitest.Start(t)
	c, id := p.Admin(t), p.Demo(t, "Test Device A1").ID.String()
	path := "/api/plugins/telemetry/DEVICE/" + id
	c.Do("POST", path+"/SERVER_SCOPE", `{"a":1,"b":2}`).Expect(200)
	c.Do("DELETE", path+"/SERVER_SCOPE?keys=unknown", nil).Expect(200)
	c.Do("DELETE", path+"/SERVER_SCOPE", nil).ExpectText(400)
	c.Do("DELETE", "/api/plugins/telemetry/"+id+"/SERVER_SCOPE?keys=a", nil).Expect(200)
	var keys []string
	c.Get(path+"/keys/attributes/SERVER_SCOPE", &keys)
	if diff := cmp.Diff([]string{"b"}, keys); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestCase69LargeBody(t *testing.T) {
	c, path := demoDevice(t)
	body := `{"a":"` + strings.Repeat("x", 17<<20) + `"}`
	c.Do("POST", path+"/timeseries/ANY", body).ExpectError(413, 31)
	c.Do("POST", "/api/device", body).ExpectError(413, 31)
}

func TestTTL(t *testing.T) {
	c, path := demoDevice(t)
	c.Do("POST", path+"/timeseries/ANY/60", `{"ts":5,"values":{"k":1}}`).Expect(200)
	if got := read(t, c, path+"/values/timeseries?keys=k&startTs=0&endTs=9"); len(got["k"]) != 1 {
		t.Errorf("a row with a time to live: %v", got)
	}
	for _, ttl := range []string{"x", "-1", "99999999999999999"} {
		c.Do("POST", path+"/timeseries/ANY/"+ttl, `{"k":1}`).ExpectError(400, 31)
	}
}
