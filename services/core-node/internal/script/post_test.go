package script

import (
	"testing"
	"testing/synctest"
	"time"
)

// asked returns scripts with one call, asked of partition 1 of four and without answer.
func asked(t *testing.T) (*Scripts, *call) {
	t.Helper()
	s := &Scripts{o: Options{Config: Config{Budget: 4 * time.Second, Pending: 10, TenantPending: 10, PendingBytes: 1 << 10}}}
	s.pending.init(s.o.Config)
	s.post.init(s)
	s.post.partitions, s.post.heard, s.post.silent = 4, make([]time.Time, 4), make([]time.Time, 4)
	c := &call{of: &state{}, budget: s.o.Config.Budget, tried: []int{1}, end: make(chan ending, 1)}
	if err := s.pending.enter(c); err != nil {
		t.Fatal(err)
	}
	return s, c
}

// TestE3_OverdueCallsWaitWhileOthersAreAnswered: how long a call without answer waits before another executor is asked, by what else
// is heard of its own.
func TestE3_OverdueCallsWaitWhileOthersAreAnswered(t *testing.T) {
	for _, c := range []struct {
		name     string
		answers  time.Duration // others are answered until then, at each tick
		overdue  time.Duration // when another executor is asked
		finished bool          // it was answered itself meanwhile
	}{
		{name: "nothing is heard", overdue: time.Second},
		{name: "silent since before its quarter", answers: 900 * time.Millisecond, overdue: 1375 * time.Millisecond},
		{name: "silent while it waits", answers: 1250 * time.Millisecond, overdue: 1750 * time.Millisecond},
		{name: "others go on", answers: time.Hour, overdue: 2 * time.Second},
		{name: "answered while it waits", answers: 1250 * time.Millisecond, finished: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, one := asked(t)
				began := time.Now()
				var elsewhere []time.Duration
				var waiting, late []*call
				for range 24 {
					time.Sleep(s.o.Config.Budget / quarters / looksPerQuarter)
					since := time.Since(began)
					if since <= c.answers {
						s.post.heard[1] = time.Now()
					}
					if c.finished && since > 1300*time.Millisecond && one.place != nil {
						s.pending.leave(one)
					}
					late, waiting = s.sort(append(waiting, s.pending.overdue(time.Now())...))
					for range late {
						elsewhere, one.sent = append(elsewhere, since), time.Now()
					}
				}
				if c.finished {
					if len(elsewhere) != 0 {
						t.Errorf("asked elsewhere after %v, though it was answered", elsewhere)
					}
					return
				}
				if len(elsewhere) == 0 || elsewhere[0] != c.overdue {
					t.Errorf("asked elsewhere after %v, want %v", elsewhere, c.overdue)
				}
				for i := 1; i < len(elsewhere); i++ {
					if elsewhere[i]-elsewhere[i-1] < s.o.Config.Budget/quarters/2 {
						t.Errorf("asked twice at once: %v", elsewhere)
					}
				}
			})
		})
	}
}

// TestE3_OneCallShowsWhetherAnExecutorIsBack: the others keep away from its partition meanwhile.
func TestE3_OneCallShowsWhetherAnExecutorIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := asked(t)
		p := &s.post
		goes := func() bool { return !p.avoids(1) || p.probes(1) }
		if !goes() {
			t.Error("a partition nothing is known of is avoided")
		}
		p.missed(c)
		for range 3 {
			if goes() {
				t.Error("a call goes to a partition that was just found silent")
			}
			time.Sleep(avoidFor)
			if !goes() || goes() {
				t.Errorf("not exactly one call goes to a partition after %v of silence", avoidFor)
			}
			time.Sleep(avoidFor / 2)
		}
		p.alive(c)
		for range 2 {
			if !goes() {
				t.Error("a partition that answers again is avoided")
			}
		}
	})
}
