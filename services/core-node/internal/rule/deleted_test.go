package rule

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

func TestWhoWatchesIsToldOfDeletions(t *testing.T) {
	s := newStage(t)
	var told []string
	s.engine.o.Deleted = func(d telemetry.Deletion) { told = append(told, d.Keys...) }
	remove := func(_ context.Context, in *Message, turn *Turn) error {
		turn.Deleted(telemetry.Deletion{Entity: in.Originator, Keys: []string{in.Type}})
		turn.Emit(Success, in)
		return nil
	}
	s.node("fast", false, remove)
	s.node("slow", true, remove)
	s.node("pass", false, func(_ context.Context, in *Message, turn *Turn) error {
		turn.Emit(Success, in)
		return nil
	})
	s.start(s.chain("fast", "slow", "pass"), 1, "a")
	s.settle()
	if diff := cmp.Diff([]string{"a", "a"}, told); diff != "" {
		t.Error(diff)
	}
	s.want("a ok")
}
