package log

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

func TestTheMessageIsLoggedAndGoesOn(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		var text bytes.Buffer
		services := rule.Services{Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level}))}
		node, err := Kind().New(Kind().Default, services)
		if err != nil {
			t.Fatal(err)
		}
		in, turn := &rule.Message{Body: rule.BodyOf([]telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(7)}})}, &rule.Turn{}
		if err := node.Process(t.Context(), in, turn); err != nil {
			t.Fatal(err)
		}
		if logged := strings.Contains(text.String(), `{\"a\":7}`); logged != (level == slog.LevelDebug) {
			t.Errorf("at level %s the log is %q", level, text.String())
		}
		if out := turn.Emissions(); len(out) != 1 || out[0].Relation != rule.Success {
			t.Errorf("the message goes along %v", out)
		}
	}
}

func TestOnlyTheDefaultScriptStarts(t *testing.T) {
	for config, want := range map[string]error{
		`{"jsScript":"return 'x';"}`:                                   rule.ErrNotStartable,
		`{"scriptLang":"TBEL","jsScript":"","tbelScript":"return 1;"}`: rule.ErrNotStartable,
	} {
		if _, err := Kind().New(json.RawMessage(config), rule.Services{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", config, err, want)
		}
	}
	if _, err := Kind().New(json.RawMessage(`{"scriptLang":"LUA"}`), rule.Services{}); err == nil || errors.Is(err, rule.ErrNotStartable) {
		t.Errorf("an unknown language: %v", err)
	}
}
