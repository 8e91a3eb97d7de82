package rule

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// pure makes the node added last a pure one that waits for scripts.
func (s *stage) pure() {
	k := &s.kinds[len(s.kinds)-1]
	k.Pure, k.Waits = true, ForScripts
}

// TestPureNodesRunAhead: the scripts of a device's messages run side by side, what they do happens in order.
func TestPureNodesRunAhead(t *testing.T) {
	s := newStage(t)
	release := make(chan struct{})
	second := make(chan struct{})
	var effects []string
	s.node("script", true, func(_ context.Context, in *Message, turn *Turn) error {
		if in.Type == "first" {
			<-release
		} else {
			close(second)
		}
		turn.Emit(Success, in)
		return nil
	})
	s.pure()
	s.node("effect", false, func(_ context.Context, in *Message, turn *Turn) error {
		effects = append(effects, in.Type)
		return nil
	})
	chain := s.chain("script", "effect")
	s.start(chain, 1, "first")
	s.start(chain, 1, "second")
	select {
	case <-second:
	case <-time.After(10 * time.Second):
		t.Fatal("the second waits for the first's script")
	}
	if err := s.engine.Resume(t.Context(), <-s.engine.Results()); err != nil {
		t.Fatal(err)
	}
	if len(effects) != 0 {
		t.Errorf("%v happened before the first", effects)
	}
	close(release)
	s.settle()
	if fmt.Sprint(effects) != "[first second]" {
		t.Errorf("effects: %v", effects)
	}
	s.want("first ok", "second ok")
}

// TestEffectsKeepTheirOrder sends messages of a few devices through pure scripts that take any time, drop some and fail some; what
// is stored and what is called happens in the order they came.
func TestEffectsKeepTheirOrder(t *testing.T) {
	s := newStage(t)
	var mu sync.Mutex
	seen := map[byte][]int{}
	s.node("script", true, func(_ context.Context, in *Message, turn *Turn) error {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		switch n := in.Time; {
		case n%7 == 0:
			return nil // dropped
		case n%11 == 0:
			return fmt.Errorf("no")
		}
		turn.Emit(Success, in)
		return nil
	})
	s.pure()
	s.node("again", true, func(_ context.Context, in *Message, turn *Turn) error {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		turn.Emit(Success, in)
		return nil
	})
	s.pure()
	s.node("save", false, save)
	s.node("call", true, func(_ context.Context, in *Message, _ *Turn) error {
		mu.Lock()
		defer mu.Unlock()
		who := in.Originator.ID[0]
		seen[who] = append(seen[who], int(in.Time))
		return nil
	})
	chain := s.chain("script", "again", "save", "call")
	const messages = 120
	for n := range messages {
		f := s.flight(chain, byte(n%3), "m")
		f.Message.Time = int64(n)
		if err := s.engine.Start(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	s.settle()
	total := 0
	for who, order := range seen {
		total += len(order)
		if !slices.IsSorted(order) {
			t.Errorf("device %d: %v", who, order)
		}
	}
	want := 0
	for n := range messages {
		if n%7 != 0 && n%11 != 0 {
			want++
		}
	}
	if total != want || len(s.finished) != messages {
		t.Errorf("%d of %d were called, %d of %d finished", total, want, len(s.finished), messages)
	}
	if len(s.engine.lanes) != 0 {
		t.Errorf("%d lanes are left", len(s.engine.lanes))
	}
}
