package child

import (
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/engine"
	"github.com/sluice-iot/sluice/services/js-executor/internal/processor"
)

// look is how often a call that runs is looked at.
const look = 4 * time.Millisecond

// watch stops calls that run too long or take too much memory, as far as the engine lets it. Who runs nothing is not woken.
type watch struct {
	engine *engine.Engine
	out    *output
	limit  uint64 // bytes of objects

	wake chan struct{}

	awake atomic.Bool
	began time.Time

	// Of the call that runs. They are there before the engine counts it.
	at      atomic.Int64 // ns since began
	used    atomic.Int64 // processor time of the process until then
	timeout atomic.Int64

	// For who runs the calls.
	seen   time.Duration // processor time when it was looked at last
	seenAt time.Duration // since began
}

// fresh is how old the processor's time at a call's start may be: asking costs more than many a call.
const fresh = time.Millisecond

// start says that a call begins.
func (w *watch) start(timeout time.Duration) {
	now := time.Since(w.began)
	if now-w.seenAt > fresh {
		w.seen, w.seenAt = processor.Used(processor.Self), now
	}
	w.at.Store(int64(now))
	w.used.Store(int64(w.seen))
	w.timeout.Store(int64(timeout))
	if !w.awake.Load() {
		w.awake.Store(true)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// spent returns how much of its time the call that runs has used up until now, and how long it has taken by the clock on the wall.
func (w *watch) spent(now time.Time) (spent, wall time.Duration) {
	wall = max(0, now.Sub(w.began)-time.Duration(w.at.Load()))
	if wall < look {
		return wall, wall // no machine's hiccup matters here
	}
	return processor.Spent(wall, time.Duration(w.used.Load()), processor.Used(processor.Self)), wall
}

// rest says that there is nothing to do.
func (w *watch) rest() { w.awake.Store(false) }

// run looks until the process ends.
func (w *watch) run() {
	memory := memory{limit: w.limit}
	for range w.wake {
		var seen looked
		for before := time.Now(); w.awake.Load(); {
			time.Sleep(look)
			number, now := w.engine.Current(), time.Now()
			spent, wall := w.spent(now)
			// From look to look, so that no standstill is missed.
			again := seen.again(number, wall, processor.Stood(now.Sub(before)))
			before = now
			if number == 0 || !again { // a short call is no trouble
				continue
			}
			w.out.flush() // what was answered before does not wait for this one
			timeout := time.Duration(w.timeout.Load())
			switch {
			case spent > timeout:
				w.engine.Stop(number, script.Timeout)
			case wall-seen.stood > processor.Patience(timeout):
				w.engine.Stop(number, script.Away)
			case memory.spent():
				w.engine.Stop(number, script.Memory)
			}
		}
	}
}

// looked is the call that was looked at last.
type looked struct {
	number uint64
	stood  time.Duration // how long the machine stood still since it began
}

// again notes a look at the call with that number, which runs for so long, when the machine stood still for so long since the look before;
// false: it is the first at this call.
func (l *looked) again(number uint64, wall, stood time.Duration) bool {
	was := l.number
	if number != was {
		*l = looked{number: number}
	}
	l.stood += min(stood, wall)
	return number == was
}

// memory is how much of it is in use.
type memory struct {
	limit   uint64
	samples [2]metrics.Sample
}

// spent reports whether more than the limit is in use. What a collection finds in use counts: the rest is garbage, of which a busy machine lets more gather.
func (m *memory) spent() bool {
	m.samples[0].Name, m.samples[1].Name = "/memory/classes/heap/objects:bytes", "/gc/heap/live:bytes"
	metrics.Read(m.samples[:1])
	if m.samples[0].Value.Uint64() <= m.limit {
		return false
	}
	runtime.GC()
	metrics.Read(m.samples[:])
	return m.samples[1].Value.Uint64() > m.limit
}
