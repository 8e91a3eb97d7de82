package processing

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

const all = Timeseries | Latest | WebSockets | CalculatedFields

func compile(t *testing.T, text string) (*Policy, error) {
	t.Helper()
	var s *Settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s.Compile(all)
}

func message(id byte, originator byte, ms int64) *rule.Message {
	return &rule.Message{ID: telemetry.MessageID{id}, Originator: ident.EntityID{ID: ident.ID{originator}}, Time: ms}
}

func TestActionsOfOneMessage(t *testing.T) {
	for text, want := range map[string]Actions{
		`null`: all, `{"type":"ON_EVERY_MESSAGE"}`: all, `{"type":"WEBSOCKETS_ONLY"}`: WebSockets,
		`{"type":"DEDUPLICATE","deduplicationIntervalSecs":86400}`: all,
		`{"type":"ADVANCED","timeseries":{"type":"SKIP"},"latest":{"type":"ON_EVERY_MESSAGE"},"webSockets":{"type":"DEDUPLICATE","deduplicationIntervalSecs":1}}`: Latest | WebSockets,
	} {
		p, err := compile(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Of(message(1, 1, 5)); got != want {
			t.Errorf("%s: actions %b, want %b", text, got, want)
		}
	}
}

func TestEachStrategyHasItsOwnIntervals(t *testing.T) {
	p, err := compile(t, `{"type":"ADVANCED","timeseries":{"type":"DEDUPLICATE","deduplicationIntervalSecs":10},`+
		`"latest":{"type":"DEDUPLICATE","deduplicationIntervalSecs":1},"webSockets":{"type":"ON_EVERY_MESSAGE"}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   *rule.Message
		want Actions
	}{
		{message(1, 1, 10_000), Timeseries | Latest | WebSockets},
		{message(1, 1, 10_000), Timeseries | Latest | WebSockets}, // handled again
		{message(2, 1, 10_500), WebSockets},
		{message(3, 2, 10_500), Timeseries | Latest | WebSockets}, // another originator
		{message(4, 1, 11_000), Latest | WebSockets},
		{message(5, 1, 20_000), Timeseries | Latest | WebSockets},
	} {
		if got := p.Of(c.in); got != c.want {
			t.Errorf("message %d: actions %b, want %b", c.in.ID[0], got, c.want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	p, err := compile(t, `{"type":"DEDUPLICATE","deduplicationIntervalSecs":10}`)
	if err != nil {
		t.Fatal(err)
	}
	in := message(1, 1, 10_000)
	for i := range originators + 100 {
		in.Originator.ID[1], in.Originator.ID[2], in.Originator.ID[3] = byte(i), byte(i>>8), byte(i>>16)
		p.Of(in)
	}
	if n := p.once[0].opened.Len(); n != originators {
		t.Errorf("it remembers %d originators", n)
	}
}

func TestSettingsAreRefusedByField(t *testing.T) {
	for text, field := range map[string]string{
		`{"type":"x"}`: "processingSettings.type", `{"type":"DEDUPLICATE"}`: "processingSettings.deduplicationIntervalSecs",
		`{"type":"DEDUPLICATE","deduplicationIntervalSecs":86401}`: "processingSettings.deduplicationIntervalSecs",
		`{"type":"ADVANCED"}`: "processingSettings.timeseries",
		`{"type":"ADVANCED","timeseries":{"type":"SKIP"},"latest":{"type":"WEBSOCKETS_ONLY"}}`: "processingSettings.latest.type",
		`{"type":"ADVANCED","timeseries":{"type":"SKIP"},"latest":{"type":"DEDUPLICATE"}}`:     "processingSettings.latest.deduplicationIntervalSecs",
	} {
		if _, err := compile(t, text); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", text, err, field)
		}
	}
}
