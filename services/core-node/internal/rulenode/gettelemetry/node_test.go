package gettelemetry

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const now = rulenodetest.NowMillis

func TestWhatIsFetched(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	for ms, values := range map[int64]string{
		now - 120_001: `{"t":0}`, now - 120_000: `{"t":1.5,"s":"a\"b"}`, now - 90_000: `{"t":2}`, now - 60_001: `{"t":3}`, now - 60_000: `{"t":4}`,
	} {
		b.Put(b.Device.Entity(), storage.Timeseries, ms, values)
	}
	const window = `"latestTsKeyNames":["${key}","s","none"],"startInterval":2,"startIntervalTimeUnit":"MINUTES","endInterval":60,"endIntervalTimeUnit":"SECONDS"`
	for _, c := range []struct {
		name, config, t, s string
	}{
		{"the first, a quoted text", `{` + window + `,"fetchMode":"FIRST"}`, `"1.5"`, `"a\"b"`},
		{"the last", `{` + window + `,"fetchMode":"LAST"}`, `"3"`, `"a\"b"`},
		{
			"all, names bare", `{` + window + `,"fetchMode":"ALL","limit":1000}`,
			`[{ts:1799999880000,value:1.5},{ts:1799999910000,value:2},{ts:1799999939999,value:3}]`, `[{ts:1799999880000,value:"a\"b"}]`,
		},
		{
			"all, newest first, limited", `{` + window + `,"fetchMode":"ALL","limit":2,"orderBy":"DESC"}`,
			`[{ts:1799999939999,value:3},{ts:1799999910000,value:2}]`, `[{ts:1799999880000,value:"a\"b"}]`,
		},
		{
			"the largest", `{` + window + `,"fetchMode":"ALL","limit":2,"aggregation":"MAX"}`,
			`[{ts:1799999910000,value:3.0}]`, `[{ts:1799999910000,value:"a\"b"}]`,
		},
		{
			"between two patterns", `{"latestTsKeyNames":["t"],"fetchMode":"FIRST","useMetadataIntervalPatterns":true,"startIntervalPattern":"${from}","endIntervalPattern":"$[to]"}`,
			`"2"`, ``,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := b.Message("X", `{"to":1799999920000}`, map[string]string{"key": "t", "from": "1799999910000"})
			got := b.Process(b.Node(Kind(), c.config), in).Emitted
			want := map[string]string{"key": "t", "from": "1799999910000", "t": c.t}
			if c.s != "" {
				want["s"] = c.s
			}
			if len(got) != 1 || got[0].Relation != rule.Success {
				t.Fatalf("%+v", got)
			}
			if diff := cmp.Diff(want, got[0].Metadata); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	const patterns = `{"latestTsKeyNames":["t"],"fetchMode":"FIRST","useMetadataIntervalPatterns":true,"startIntervalPattern":"${from}","endIntervalPattern":"${to}"}`
	for name, c := range map[string]struct{ config, from, why string }{
		"no key":            {"", "1", "latestTsKeyNames"},
		"no time":           {patterns, "x", "startIntervalPattern"},
		"ends before start": {patterns, "9", "before its start"},
	} {
		in := b.Message("X", `{}`, map[string]string{"from": c.from, "to": "5"})
		if why, failed := b.Process(b.Node(Kind(), c.config), in).Failed(); !failed || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, %v", name, why, failed)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"fetchMode":"X","startInterval":2,"startIntervalTimeUnit":"MINUTES","endInterval":1,"endIntervalTimeUnit":"MINUTES"}`:   "fetchMode",
		`{"fetchMode":"ALL","startInterval":2,"startIntervalTimeUnit":"MINUTES","endInterval":1,"endIntervalTimeUnit":"MINUTES"}`: "limit",
		`{"fetchMode":"ALL","startInterval":1,"startIntervalTimeUnit":"MINUTES","endInterval":1,"endIntervalTimeUnit":"MINUTES"}`: "startInterval",
		`{"fetchMode":"ALL","startInterval":1,"startIntervalTimeUnit":"EONS"}`:                                                    "startIntervalTimeUnit",
		`{"fetchMode":"ALL","limit":5,"orderBy":"X","useMetadataIntervalPatterns":true}`:                                          "orderBy",
		`{"fetchMode":"ALL","limit":5,"aggregation":"X","useMetadataIntervalPatterns":true}`:                                      "aggregation",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"fetchMode":"FIRST"}`, `{"aggregation":"NONE","fetchMode":"FIRST","limit":1000,"orderBy":"ASC"}`},
		{0, `{"fetchMode":"LAST","orderBy":"ASC"}`, `{"aggregation":"NONE","fetchMode":"LAST","limit":1000,"orderBy":"DESC"}`},
		{0, `{"fetchMode":"ALL","orderBy":"DESC","limit":5}`, `{"aggregation":"NONE","fetchMode":"ALL","limit":5,"orderBy":"DESC"}`},
		{0, `{"fetchMode":"X"}`, `{"aggregation":"NONE","fetchMode":"LAST","limit":1000,"orderBy":"DESC"}`},
		{1, `{"fetchMode":"ALL"}`, `{"fetchMode":"ALL","limit":1000}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
