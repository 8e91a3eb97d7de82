package jsexecutor

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/proto/script"
)

// A process that gets no processor time for longer than its call may run is no fault of the call. Nor is one that gets none at all, but others wait for
// what it had in hand, and nobody for ever.
func TestC28_ProcessorTimeIsWhatCounts(t *testing.T) {
	const body = "return msg.temperature"
	for _, k := range []struct {
		name    string
		pause   time.Duration
		outcome script.Outcome
	}{
		{"C28 a pause", 2 * slice, script.OK},
		{"C28 no end of it", 8 * slice, script.Away},
	} {
		t.Run(k.name, func(t *testing.T) {
			broker := bustest.Broker(t)
			e := run(t, broker, "executor", func(c *Config) { c.Children = 1 })
			c := dial(t, broker, "core")
			if a := c.ask(call{body: body}); a.Text != "21" {
				t.Fatalf("got %+v", a)
			}
			stopped := e.crew.Processes()
			signal(t, stopped, syscall.SIGSTOP)
			goesOn := time.AfterFunc(k.pause, func() { signal(t, stopped, syscall.SIGCONT) })
			ends := c.begin(slices.Repeat([]call{{body: body, timeout: slice}}, 3)...)
			if a := <-ends[0]; a.Outcome != k.outcome {
				t.Errorf("got %+v", a)
			}
			for _, end := range ends[1:] {
				if a := <-end; a.Text != "21" {
					t.Errorf("behind it: %+v", a)
				}
			}
			goesOn.Stop()
			if n := e.count(t, "js_executor_kills_total"); (n > 0) != (k.outcome == script.Away) {
				t.Errorf("%v kills", n)
			}
		})
	}
}

// When the whole machine stands still, those who watch do too: nobody is late, then.
func TestC28_AMachineThatStoodStill(t *testing.T) {
	const pause = 5 * slice
	broker := bustest.Broker(t)
	e := run(t, broker, "executor", nil)
	c := dial(t, broker, "core")
	if a := c.ask(call{body: "return 1"}); a.Text != "1" {
		t.Fatalf("got %+v", a)
	}
	all := fmt.Sprint(os.Getpid())
	for _, p := range e.crew.Processes() {
		all += fmt.Sprint(" ", p)
	}
	stand := exec.Command("sh", "-c", fmt.Sprintf("kill -STOP %s; sleep %g; kill -CONT %[1]s", all, pause.Seconds()))
	began := time.Now()
	ends := c.begin(slices.Repeat([]call{{body: "var end = Date.now() + 300; while (Date.now() < end); return 1"}}, 4)...)
	if err := stand.Run(); err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		if a := <-end; a.Text != "1" {
			t.Errorf("got %+v", a)
		}
	}
	if took := time.Since(began); took < pause {
		t.Errorf("all was over after %v", took)
	}
	if n := e.count(t, "js_executor_kills_total"); n > 0 {
		t.Errorf("%v kills", n)
	}
}

func signal(t *testing.T, processes []int, s syscall.Signal) {
	for _, p := range processes {
		if err := syscall.Kill(p, s); err != nil {
			t.Errorf("signal %v: %v", s, err)
		}
	}
}
