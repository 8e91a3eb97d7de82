package log

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestTheMessageIsLoggedAndGoesOn(t *testing.T) {
	for _, c := range []struct {
		name, config, want string
	}{
		{"B15 the default script needs no interpreter", "", `{\"a\":7}`},
		{"the default in TBEL", `{"scriptLang":"TBEL","tbelScript":` + quotedDefault() + `}`, `{\"a\":7}`},
		{"a script", `{"jsScript":"return 'seven';"}`, "seven"},
	} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
			t.Run(c.name+" at "+level.String(), func(t *testing.T) {
				b, text := rulenodetest.New(t), &bytes.Buffer{}
				b.Services.Log = slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{Level: level}))
				if c.want == "seven" {
					b.Scripts.Return(`"seven"`)
				} else {
					b.Scripts.Refuse = errors.New("the interpreter is stopped")
				}
				out := b.Process(b.Node(Kind(), c.config), b.Message("T", `{"a":7}`, nil))
				if logged := strings.Contains(text.String(), c.want); logged != (level == slog.LevelDebug) {
					t.Errorf("the log is %q", text.String())
				}
				if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.Success || out.Emitted[0].Data != `{"a":7}` {
					t.Errorf("it emits %+v", out.Emitted)
				}
			})
		}
	}
}

func quotedDefault() string {
	return `"return '\\nIncoming message:\\n' + JSON.stringify(msg) + '\\nIncoming metadata:\\n' + JSON.stringify(metadata);"`
}

func TestB15_AScriptThatReturnsNoTextFails(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), `{"jsScript":"return {};"}`)
	for result, want := range map[string]string{`{}`: "Wrong result type: OBJECT", ``: "Wrong result type: UNDEFINED", `5`: "Wrong result type: NUMBER"} {
		b.Scripts.Return(result)
		if why, failed := b.Process(node, b.Message("T", `{}`, nil)).Failed(); !failed || why != want {
			t.Errorf("%s: failed %v with %q, want %q", result, failed, why, want)
		}
	}
}

func TestOnlyScriptsThatRunAreWaitedFor(t *testing.T) {
	b := rulenodetest.New(t)
	if w, ok := b.Node(Kind(), "").(rule.Waiter); !ok || w.Waits() != rule.ForNothing {
		t.Error("the default script is waited for")
	}
	if _, ok := b.Node(Kind(), `{"jsScript":"return 'x';"}`).(rule.Waiter); ok || Kind().Waits != rule.ForScripts {
		t.Error("a script is not waited for")
	}
}

func TestScriptsThatCannotRun(t *testing.T) {
	b := rulenodetest.New(t)
	if _, err := b.New(Kind(), `{"scriptLang":"TBEL","jsScript":"","tbelScript":"return 1;"}`); !errors.Is(err, rule.ErrNotStartable) {
		t.Errorf("TBEL: %v", err)
	}
	for _, config := range []string{`{"scriptLang":"LUA"}`, `{"jsScript":""}`} {
		if _, err := b.New(Kind(), config); err == nil || errors.Is(err, rule.ErrNotStartable) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
