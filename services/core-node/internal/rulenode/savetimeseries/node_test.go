package savetimeseries

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func build(t *testing.T, config string) rule.Node {
	t.Helper()
	node, err := Kind().New(json.RawMessage(config), rule.Services{Now: func() time.Time { return time.UnixMilli(9000) }})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func kv(key string, v telemetry.Value) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: v}
}

func TestWhatIsSaved(t *testing.T) {
	const plain = `{"defaultTTL":0,"useServerTs":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`
	one := []telemetry.KeyValue{kv("a", telemetry.OfLong(1))}
	for _, c := range []struct {
		name, config string
		in           rule.Message
		want         []storage.Write
	}{
		{
			"typed values at the metadata's time", plain,
			rule.Message{Time: 5, Metadata: rule.Metadata{HasTs: true, Ts: 7}, Body: rule.BodyOf(one)},
			[]storage.Write{{Time: 7, Values: one}},
		},
		{"the message's time without one", plain, rule.Message{Time: 5, Body: rule.BodyOf(one)}, []storage.Write{{Time: 5, Values: one}}},
		{"the server's time", `{"useServerTs":true}`, rule.Message{Time: 5, Body: rule.BodyOf(one)}, []storage.Write{{Time: 9000, Values: one}}},
		{"default TTL", `{"defaultTTL":60}`, rule.Message{Body: rule.BodyOf(one)}, []storage.Write{{TTL: time.Minute, Values: one}}},
		{
			"TTL of the metadata", `{"defaultTTL":60}`,
			rule.Message{Metadata: rule.Metadata{}.With("TTL", "5"), Body: rule.BodyOf(one)},
			[]storage.Write{{TTL: 5 * time.Second, Values: one}},
		},
		{
			"A31 numeric text", plain,
			rule.Message{Time: 5, Body: rule.TextBody(`{"x":"12.5"}`)},
			[]storage.Write{{Time: 5, Values: []telemetry.KeyValue{kv("x", telemetry.OfDouble(12.5))}}},
		},
		{
			"text with times", plain,
			rule.Message{Time: 5, Body: rule.TextBody(`[{"ts":1,"values":{"a":1}},{"a":1}]`)},
			[]storage.Write{{Time: 1, Values: one}, {Time: 5, Values: one}},
		},
		{
			"skipping", `{"processingSettings":{"type":"ADVANCED","timeseries":{"type":"SKIP"},"latest":{"type":"ON_EVERY_MESSAGE"},"webSockets":{"type":"SKIP"}}}`,
			rule.Message{Body: rule.BodyOf(one)},
			[]storage.Write{{SkipHistory: true, Values: one}},
		},
		{
			"for watchers only", `{"processingSettings":{"type":"WEBSOCKETS_ONLY"}}`,
			rule.Message{Body: rule.BodyOf(one)},
			[]storage.Write{{SkipHistory: true, SkipLatest: true, Values: one}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Type = rule.PostTelemetry
			turn := &rule.Turn{}
			if err := build(t, c.config).Process(t.Context(), &c.in, turn); err != nil {
				t.Fatal(err)
			}
			var got []storage.Write
			for _, s := range turn.Saves() {
				got = append(got, s.Write)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(telemetry.Value{})); diff != "" {
				t.Error(diff)
			}
			if out := turn.Emissions(); len(out) != 1 || out[0].Relation != rule.Success || out[0].Message != &c.in {
				t.Errorf("the message goes along %v", out)
			}
		})
	}
}

func TestA32_OtherTypesFail(t *testing.T) {
	in := rule.Message{Type: rule.AttributesUpdated, Body: rule.TextBody(`{"a":1}`)}
	if err := build(t, `{}`).Process(t.Context(), &in, &rule.Turn{}); err == nil || !strings.Contains(err.Error(), "Unsupported msg type") {
		t.Errorf("%v", err)
	}
}

func TestA31_NullFails(t *testing.T) {
	in := rule.Message{Type: rule.PostTelemetry, Body: rule.TextBody(`{"x":null}`)}
	if err := build(t, `{}`).Process(t.Context(), &in, &rule.Turn{}); err == nil || !strings.Contains(err.Error(), "null") {
		t.Errorf("%v", err)
	}
}

func TestWhatFails(t *testing.T) {
	for name, in := range map[string]rule.Message{
		"nothing typed":   {Type: rule.PostTelemetry, Body: rule.BodyOf(nil)},
		"nothing in text": {Type: rule.PostTelemetry, Body: rule.TextBody(`{}`)},
		"no JSON":         {Type: rule.PostTelemetry, Body: rule.TextBody(`hello`)},
		"a bad TTL":       {Type: rule.PostTelemetry, Metadata: rule.Metadata{}.With("TTL", "-1"), Body: rule.TextBody(`{"a":1}`)},
	} {
		if err := build(t, `{}`).Process(t.Context(), &in, &rule.Turn{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for config, field := range map[string]string{
		`{"defaultTTL":-1}`:                                                    "defaultTTL",
		`{"defaultTTL":"x"}`:                                                   "defaultTTL",
		`{"processingSettings":{"type":"SOMETIMES"}}`:                          "processingSettings.type",
		`{"processingSettings":{"type":"DEDUPLICATE"}}`:                        "processingSettings.deduplicationIntervalSecs",
		`{"processingSettings":{"type":"ADVANCED"}}`:                           "processingSettings.timeseries",
		`{"processingSettings":{"type":"ADVANCED","timeseries":{"type":"x"}}}`: "processingSettings.timeseries.type",
	} {
		_, err := Kind().New(json.RawMessage(config), rule.Services{})
		if err == nil || errors.Is(err, rule.ErrNotStartable) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	config := map[string]any{"defaultTTL": 0, "skipLatestPersistence": true}
	Kind().Upgrade(0, config, nil)
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	turn := &rule.Turn{}
	in := &rule.Message{Type: rule.PostTelemetry, Body: rule.TextBody(`{"a":1}`)}
	if err := build(t, string(text)).Process(t.Context(), in, turn); err != nil {
		t.Fatal(err)
	}
	if s := turn.Saves()[0]; !s.SkipLatest || s.SkipHistory || s.Silent {
		t.Errorf("upgraded to %s it saves %+v", text, s)
	}
}

func TestOneMessageOfAnIntervalIsSaved(t *testing.T) {
	node := build(t, `{"processingSettings":{"type":"DEDUPLICATE","deduplicationIntervalSecs":60}}`)
	for i, c := range []struct {
		at    int64
		saves int
	}{{60_000, 1}, {60_001, 0}, {119_999, 0}, {120_000, 1}} {
		turn := &rule.Turn{}
		in := &rule.Message{ID: telemetry.MessageID{byte(i)}, Type: rule.PostTelemetry, Time: c.at, Body: rule.TextBody(`[{"a":1},{"a":2}]`)}
		if err := node.Process(t.Context(), in, turn); err != nil {
			t.Fatal(err)
		}
		if len(turn.Saves()) != 2*c.saves || len(turn.Emissions()) != 1 || turn.Emissions()[0].Relation != rule.Success {
			t.Errorf("at %d: saves %d, emits %v", c.at, len(turn.Saves()), turn.Emissions())
		}
	}
}
