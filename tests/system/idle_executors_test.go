//go:build fleet

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestIdleExecutors: what twenty script executors cost that have nothing to do, each for itself, with all the others in its group.
func TestIdleExecutors(t *testing.T) {
	const (
		executors = 20
		gathering = 8 * time.Second
		watched   = 10 * time.Second
		mostBytes = 40 << 20
		mostShare = 0.005 // of a processor
	)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f := NewFleet(ctx, t, shared(t), FleetOptions{Scripts: executors})
	if err := f.each(f.Scripts, func(r *Role) error { return r.Start(ctx) }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(gathering)
	before := make([]cost, executors)
	var err error
	for i, r := range f.Scripts {
		if before[i], err = costOf(r.PID()); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(watched)
	var resident, proportional, anonymous []int
	var used time.Duration
	for i, r := range f.Scripts {
		now, err := costOf(r.PID())
		if err != nil {
			t.Fatal(err)
		}
		resident, proportional, anonymous = append(resident, now.resident), append(proportional, now.proportional), append(anonymous, now.anonymous)
		used += now.processor - before[i].processor
	}
	for _, all := range [][]int{resident, proportional, anonymous} {
		slices.Sort(all)
	}
	share := used.Seconds() / watched.Seconds() / executors
	const mb = 1 << 20
	t.Logf("of %d, the median and the largest: resident %d and %d MB, %d and %d with shared pages counted once, %d and %d their own; %.2f %% of a processor each",
		executors, resident[executors/2]/mb, resident[executors-1]/mb, proportional[executors/2]/mb, proportional[executors-1]/mb,
		anonymous[executors/2]/mb, anonymous[executors-1]/mb, 100*share)
	if most := proportional[executors-1]; most > mostBytes { // the program's own pages are there once for all processes that run it
		t.Errorf("one takes %d MB", most/mb)
	}
	if share > mostShare {
		t.Errorf("each takes %.2f %% of a processor", 100*share)
	}
}

// cost is what a process takes: bytes, and processor time so far.
type cost struct {
	resident, proportional, anonymous int
	processor                         time.Duration
}

func costOf(pid int) (c cost, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		into := map[string]*int{"Rss:": &c.resident, "Pss:": &c.proportional, "Anonymous:": &c.anonymous}[fields[0]]
		if into == nil {
			continue
		}
		kb, err := strconv.Atoi(fields[1])
		if err != nil {
			return c, err
		}
		*into = kb << 10
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return c, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the program's name
	const user, system, tick = 11, 12, 10 * time.Millisecond
	fields := strings.Fields(rest)
	a, errA := strconv.Atoi(fields[user])
	b, errB := strconv.Atoi(fields[system])
	c.processor = time.Duration(a+b) * tick
	return c, errors.Join(errA, errB)
}
