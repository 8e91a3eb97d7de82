package rule

import "time"

// workTime is how long a flight's nodes have been at it: those that wait for something outside, as all others take no time worth
// counting. Standing in line, for a slot or behind an earlier message, is no work, nor is waiting for the platform.
type workTime struct {
	begun bool // there was work with effects since the flight was started
	nodes int  // at work now
	since time.Time
	sum   time.Duration
}

// touch notes that a node works on the message, whether it waits or not.
func (w *workTime) touch(pure bool) { w.begun = w.begun || !pure }

func (w *workTime) begin(now time.Time) {
	if w.nodes++; w.nodes == 1 {
		w.since = now
	}
}

// end notes that a node is done, which waited for the platform for some of its time.
func (w *workTime) end(now time.Time, waited time.Duration) {
	if w.nodes--; w.nodes == 0 {
		w.sum += max(0, now.Sub(w.since)-waited)
	}
}

// Worked is how long the flight's nodes have been at work since its last start.
func (f *Flight) Worked(now time.Time) time.Duration {
	if f.work.nodes == 0 {
		return f.work.sum
	}
	return f.work.sum + now.Sub(f.work.since)
}
