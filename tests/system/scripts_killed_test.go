//go:build fleet

package system

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// longestStall is the longest a call may take because an executor was killed.
const longestStall = 3 * time.Second

// TestFaultScriptExecutorKilled (F26) kills one of three script executors after the other, under readings that run through two
// scripts each: nothing is lost, no script is blocked for it, and no call waits long.
func TestFaultScriptExecutorKilled(t *testing.T) {
	ctx, s := newScene(t, "F26", shared(t), FleetOptions{Scripts: 3, Core: 2})
	t.Cleanup(func() { leaveNothing(t, s.fleet, s.tenant) })
	if err := s.tenant.UseScripts(ctx); err != nil {
		t.Fatal(err)
	}
	s.rest()
	for _, device := range s.devices.firmware { // each reading is two calls, and in a short run others use the processors too
		device.Pause = lasting(3*scenePause, scenePause)
	}
	s.load(ctx)
	s.goOn(ctx)
	eventually(ctx, t, 2*takeOver, func() error { // readings are acknowledged before scripts have run
		metrics, err := s.fleet.Metrics(ctx)
		if run := metrics[`js_executor_calls_total{outcome="ok"}`]; err == nil && run < 10*sceneDevices {
			err = fmt.Errorf("the executors have run %v calls", run)
		}
		return err
	})
	s.tellOfScripts(ctx, "before any kill")
	kills := often(1, 20)
	longest := 0.0
	for i := range kills {
		executor := s.fleet.Scripts[i%len(s.fleet.Scripts)]
		executor.Kill()
		executor.Wait()
		time.Sleep(longestStall) // so that what would stall longer is seen to
		s.goOn(ctx)
		for _, id := range s.devices.ids {
			var traces []Trace
			eventually(ctx, t, 2*takeOver, func() (err error) { // an owner that is busy asks to be asked again
				traces, err = s.tenant.Traces(ctx, id)
				return err
			})
			for _, m := range traces {
				longest = max(longest, m.Took)
				if m.Fate != "PROCESSED" {
					t.Errorf("a message became %s: %s", m.Fate, m.Error)
				}
			}
		}
		s.tellOfScripts(ctx, "after a kill")
		s.mustStart(ctx, executor)
	}
	metrics, err := s.fleet.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if stalled := metrics["script_call_seconds_count"] - metrics[`script_call_seconds_bucket{le="3"}`]; stalled > 0 {
		t.Errorf("%v of %v calls took longer than %v", stalled, metrics["script_call_seconds_count"], longestStall)
	}
	if blocked := metrics["script_blocked_total"]; blocked != 0 {
		t.Errorf("scripts were blocked %v times", blocked)
	}
	t.Logf("the longest a message took: %.0f ms", longest)
	s.judge(ctx, "a script executor of three killed (SIGKILL), two scripts for each reading", kills)
}

// tellOfScripts logs what the core nodes and the executors count of scripts.
func (s *scene) tellOfScripts(ctx context.Context, when string) {
	s.t.Helper()
	metrics, err := s.fleet.Metrics(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var told []string
	for name, value := range metrics {
		scripts := strings.HasPrefix(name, "script_") || strings.HasPrefix(name, "js_executor_")
		if scripts && value != 0 && !strings.Contains(name, "_bucket") {
			told = append(told, fmt.Sprintf("%s %.6g", name, value))
		}
	}
	slices.Sort(told)
	s.t.Logf("%s: %s", when, strings.Join(told, ", "))
}
