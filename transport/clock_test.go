package transport

import (
	"sync"
	"testing"
	"time"
)

const noon = 1_634_712_000_000 // ms since the epoch

func TestClockIsStrictlyIncreasing(t *testing.T) {
	var c deviceClock
	for i, want := range []int64{noon, noon + 1, noon + 2} {
		if got, ok := c.take(noon, 1); !ok || got != want {
			t.Errorf("reading %d of one millisecond: %d (%v), want %d", i, got, ok, want)
		}
	}
	if got, ok := c.take(noon+10, 1); !ok || got != noon+10 {
		t.Errorf("later: %d (%v), want the present", got, ok)
	}
	if first, ok := c.take(noon+100, 5); !ok || first != noon+96 {
		t.Errorf("five at once start at %d (%v), want to end at the present", first, ok)
	}
}

func TestClockSlowsWhoeverRunsAhead(t *testing.T) {
	var c deviceClock
	taken := int64(0)
	for {
		ms, ok := c.take(noon, 1)
		if !ok {
			break
		}
		taken++
		if ms > noon+maxAhead {
			t.Fatalf("%d ms ahead", ms-noon)
		}
	}
	if taken != maxAhead+1 {
		t.Errorf("%d readings in one millisecond, want %d", taken, maxAhead+1)
	}
	wait := c.wait(noon)
	if wait <= 0 || wait > maxAhead*time.Millisecond {
		t.Fatalf("waits %v", wait)
	}
	later := noon + wait.Milliseconds()
	if c.wait(later) != 0 {
		t.Errorf("still waits %v after its wait", c.wait(later))
	}
	if _, ok := c.take(later, 1); !ok {
		t.Error("is refused after its wait")
	}
}

// A message of more readings than fit the allowance is spread over the past; it never waits for ever.
func TestClockTakesLargeMessages(t *testing.T) {
	var c deviceClock
	for now := int64(noon); now < noon+100_000; now += 20_000 {
		first, ok := c.take(now, 10_000)
		if !ok || first != now-9_999 {
			t.Fatalf("at %d: %d (%v)", now, first, ok)
		}
	}
	now := int64(noon + 100_000)
	for range 3 {
		if _, ok := c.take(now, 10_000); ok {
			continue
		}
		wait := c.wait(now)
		if wait <= 0 || wait > 10*time.Second {
			t.Fatalf("waits %v", wait)
		}
		now += wait.Milliseconds()
		if _, ok := c.take(now, 10_000); !ok {
			t.Fatal("is refused after its wait")
		}
	}
}

// When the wall clock is set back, order goes on and nobody waits until it has caught up.
func TestClockSetBack(t *testing.T) {
	var c deviceClock
	c.take(noon, 1)
	back := int64(noon - 3_600_000)
	for i := range int64(5) {
		if got, ok := c.take(back, 1); !ok || got != noon+1+i {
			t.Errorf("after the step: %d (%v), want %d", got, ok, noon+1+i)
		}
	}
	if wait := c.wait(back); wait != 0 {
		t.Errorf("waits %v", wait)
	}
}

func TestClockGivesBackWhatWasNotSent(t *testing.T) {
	var c deviceClock
	first, _ := c.take(noon, 3)
	c.giveBack(first, 3)
	if again, _ := c.take(noon, 3); again != first {
		t.Errorf("taken again %d, want %d", again, first)
	}
	second, _ := c.take(noon, 1)
	c.giveBack(first, 3) // too late: someone took since
	if third, _ := c.take(noon, 1); third != second+1 {
		t.Errorf("third is %d, want %d", third, second+1)
	}
}

func TestClockIsOneForAllGoroutines(t *testing.T) {
	var c deviceClock
	const each = 200
	seen := make([][]int64, 4)
	var all sync.WaitGroup
	for i := range seen {
		all.Go(func() {
			for range each {
				if ms, ok := c.take(noon, 1); ok {
					seen[i] = append(seen[i], ms)
				}
			}
		})
	}
	all.Wait()
	unique := map[int64]bool{}
	for _, times := range seen {
		for _, ms := range times {
			unique[ms] = true
		}
	}
	if len(unique) != each*len(seen) {
		t.Errorf("%d different times, want %d", len(unique), each*len(seen))
	}
}
