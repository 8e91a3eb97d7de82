package rulenodetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// node does what the test says.
type node func(ctx context.Context, s rule.Services, in *rule.Message, turn *rule.Turn) error

type built struct {
	do node
	s  rule.Services
}

func (b built) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	return b.do(ctx, b.s, in, turn)
}

func kind(do node) rule.Kind {
	return rule.Kind{
		Name: "test", Default: json.RawMessage(`{}`),
		New: func(_ json.RawMessage, s rule.Services) (rule.Node, error) { return built{do, s}, nil },
	}
}

func TestEveryWayOutIsSeen(t *testing.T) {
	b := rulenodetest.New(t)
	chain, due := ident.ID{9}, b.Services.Now().Add(time.Minute)
	n := b.Node(kind(func(_ context.Context, _ rule.Services, in *rule.Message, turn *rule.Turn) error {
		turn.Emit("one", in)
		turn.Fail(in, errors.New("boom"))
		turn.Enter(chain, in)
		turn.Return(in)
		turn.Requeue("hp", in)
		turn.Later(due, in)
		turn.Again(chain, due, in)
		turn.Raise(in)
		turn.Final()
		turn.Save(telemetry.Save{Notify: true, Write: storage.Write{
			Entity: in.Originator, Scope: storage.Shared, Time: 5,
			Values: []values.KeyValue{{Key: "a", Value: values.OfLong(1)}},
		}})
		return nil
	}), "")
	in := b.Message("T", `{}`, map[string]string{"k": "v"})
	sent := func(change func(*rulenodetest.Emitted)) rulenodetest.Emitted {
		e := rulenodetest.Emitted{Type: "T", Data: `{}`, Metadata: map[string]string{"k": "v"}, Originator: in.Originator}
		change(&e)
		return e
	}
	want := rulenodetest.Outcome{
		Final: true,
		Emitted: []rulenodetest.Emitted{
			sent(func(e *rulenodetest.Emitted) { e.Relation = "one" }),
			sent(func(e *rulenodetest.Emitted) { e.Relation, e.Err = rule.Failure, "boom" }),
			sent(func(e *rulenodetest.Emitted) { e.Entered = chain }),
			sent(func(e *rulenodetest.Emitted) { e.Returned = true }),
			sent(func(e *rulenodetest.Emitted) { e.Relation, e.Requeued, e.Queue = rule.Success, true, "hp" }),
			sent(func(e *rulenodetest.Emitted) { e.Relation, e.Due = rule.Success, due }),
			sent(func(e *rulenodetest.Emitted) { e.Due, e.Place, e.Yields, e.Again = due, chain, true, true }),
			sent(func(e *rulenodetest.Emitted) { e.Raised = true }),
		},
		Saved: []rulenodetest.Saved{{Entity: in.Originator, Scope: storage.Shared, Time: 5, Values: `{"a":1}`, NotifyDevices: true}},
	}
	if diff := cmp.Diff(want, b.Process(n, in)); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsAreFailuresUnlessTheyAreThePlatforms(t *testing.T) {
	b := rulenodetest.New(t)
	for err, want := range map[error]string{errors.New("boom"): "boom", storage.ErrUnavailable: ""} {
		out := b.Process(b.Node(kind(func(context.Context, rule.Services, *rule.Message, *rule.Turn) error { return err }), ""), b.Message("T", "", nil))
		if why, failed := out.Failed(); why != want || failed == (out.Away != "") {
			t.Errorf("%v: %+v", err, out)
		}
	}
}

func TestScriptsAnswerAsTold(t *testing.T) {
	b := rulenodetest.New(t)
	b.Scripts.Return(`true`)
	n := b.Node(kind(func(ctx context.Context, s rule.Services, in *rule.Message, turn *rule.Turn) error {
		script, err := s.Scripts.Prepare(s.Tenant, []string{"msg"}, "return msg;")
		if err != nil {
			return err
		}
		result, err := script.Call(ctx, []string{in.Type})
		turn.Emit(rule.Relation(result), in)
		return err
	}), "")
	if got := b.Process(n, b.Message("T", "", nil)).Relations(); len(got) != 1 || got[0] != "true" {
		t.Errorf("it goes along %v", got)
	}
	b.Scripts.Throw(errors.New("Error: x"))
	if why, _ := b.Process(n, b.Message("U", "", nil)).Failed(); why != "Error: x" {
		t.Errorf("it failed with %q", why)
	}
	if diff := cmp.Diff([][]string{{"T"}, {"U"}}, b.Scripts.Calls()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]rulenodetest.Prepared{{[]string{"msg"}, "return msg;"}, {[]string{"msg"}, "return msg;"}}, b.Scripts.Prepared()); diff != "" {
		t.Error(diff)
	}
	b.Scripts.Refuse = errors.New("SyntaxError")
	if why, _ := b.Process(n, b.Message("T", "", nil)).Failed(); why != "SyntaxError" {
		t.Errorf("it failed with %q", why)
	}
}

func TestThePlatformHasADevice(t *testing.T) {
	b := rulenodetest.New(t)
	entities := b.Platform()
	d, err := entities.Devices.Device(t.Context(), b.Services.Tenant, b.Device)
	if err != nil || d.Name != "Device" || b.Message("T", "", nil).Originator != d.ID.Entity() {
		t.Errorf("%+v, %v", d, err)
	}
}
