package child

import (
	"bufio"
	"container/list"
	"io"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/engine"
	"github.com/sluice-iot/sluice/services/js-executor/internal/pipe"
)

// worker runs calls in order. Three goroutines share it: one reads, one runs, one watches.
type worker struct {
	settings Settings
	engine   *engine.Engine
	programs programs

	mu      sync.Mutex
	waiting []script.Call
	next    int // of waiting
	arrived *sync.Cond
	ended   error // why nothing more arrives

	watch watch
	out   output
}

const (
	// flushAfter bounds how long an answer waits for company while more calls wait.
	flushAfter = 500 * time.Microsecond
	flushBytes = 32 << 10
	readBytes  = 64 << 10
)

func newWorker(s Settings, e *engine.Engine, to io.Writer) *worker {
	w := &worker{settings: s, engine: e, programs: programs{limit: s.Programs, byID: map[script.ID]*list.Element{}}}
	w.arrived = sync.NewCond(&w.mu)
	w.out.to = to
	w.watch = watch{engine: e, out: &w.out, limit: uint64(s.MemoryBytes), wake: make(chan struct{}, 1), began: time.Now()}
	return w
}

// serve runs what it reads until reading or writing fails, and returns why.
func (w *worker) serve(from io.Reader) error {
	go w.read(bufio.NewReaderSize(from, readBytes)) // ends with the process: nothing interrupts a read of standard input
	go w.watch.run()
	for {
		c, more, err := w.take()
		if err != nil {
			return err
		}
		answer := w.run(&c)
		if err := w.out.add(&answer, !more); err != nil {
			return err
		}
	}
}

func (w *worker) read(r *bufio.Reader) {
	for {
		text, err := pipe.Read(r)
		var calls []script.Call
		if err == nil {
			_, calls, err = script.DecodeCalls(text)
		}
		w.mu.Lock()
		switch {
		case err != nil:
			w.ended = err
		case len(calls) == 0: // the parent takes back what was not started
			w.waiting, w.next = nil, 0
			w.out.giveBack()
		default:
			w.waiting = append(w.waiting[w.next:], calls...)
			w.next = 0
		}
		w.arrived.Signal()
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take returns the next call, waiting for it; more says that another waits.
func (w *worker) take() (c script.Call, more bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.next >= len(w.waiting) {
		w.waiting, w.next = w.waiting[:0], 0
		if w.ended != nil {
			return c, false, w.ended
		}
		w.watch.rest()
		w.out.flush() // an answer may wait for one that was taken back meanwhile
		w.arrived.Wait()
	}
	c = w.waiting[w.next]
	w.waiting[w.next] = script.Call{}
	w.next++
	w.out.begins(c.ID)
	return c, w.next < len(w.waiting), nil
}

// run is one call.
func (w *worker) run(c *script.Call) script.Answer {
	answer := script.Answer{ID: c.ID}
	w.watch.start(c.Timeout)
	program, fault := w.program(c)
	if program == nil && fault == nil {
		answer.Outcome = script.NotFound
	}
	if program != nil && !c.Compile {
		answer.Text, answer.Undefined, fault = w.engine.Run(program, c.Args)
	}
	answer.Ran, _ = w.watch.spent(time.Now())
	if fault != nil {
		answer.Outcome, answer.Text, answer.Line = fault.Outcome, fault.Text, fault.Line
	}
	return answer
}

// program returns the call's program; neither it nor a fault when the body is needed for it.
func (w *worker) program(c *script.Call) (*engine.Program, *engine.Fault) {
	if p := w.programs.get(c.Script); p != nil {
		return p, nil
	}
	if c.Body == "" {
		return nil, nil
	}
	p, fault := engine.Compile(c.Parameters, c.Body)
	if fault == nil {
		w.programs.put(c.Script, p)
	}
	return p, fault
}

// output collects answers.
type output struct {
	mu      sync.Mutex
	to      io.Writer
	buffer  []byte
	since   time.Time
	running uint64 // the call that is begun and not answered
}

// add takes an answer; last says that no call waits, so that nothing more will come soon.
func (o *output) add(a *script.Answer, last bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buffer) == 0 {
		o.buffer = pipe.Begin(o.buffer)
		if !last {
			o.since = time.Now()
		}
	}
	o.buffer, o.running = script.AppendAnswer(o.buffer, a), 0
	if last || len(o.buffer) > flushBytes || time.Since(o.since) > flushAfter {
		return o.write()
	}
	return nil
}

// begins says which call is run now.
func (o *output) begins(id uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running = id
}

// giveBack tells the parent that nothing but the running call is left here, which may be none. The lock on what waits is held, so that none is begun meanwhile.
func (o *output) giveBack() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buffer) == 0 {
		o.buffer = pipe.Begin(o.buffer)
	}
	o.buffer = script.AppendAnswer(o.buffer, &script.Answer{ID: o.running})
	o.buffer = script.AppendSource(o.buffer, GivenBack)
	_ = o.write() // the parent is gone then, and the process ends with its next answer
}

// GivenBack ends the answers whose last one only names the call that is running.
const GivenBack = "given back"

// flush writes what has been collected. An error is seen again by the next add.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buffer) > 0 {
		_ = o.write() // the parent is gone then, and the process ends with its next answer
	}
}

func (o *output) write() error {
	_, err := o.to.Write(pipe.End(o.buffer))
	if o.buffer = o.buffer[:0]; cap(o.buffer) > 2*flushBytes {
		o.buffer = nil
	}
	return err
}

// programs are the compiled programs used last.
type programs struct {
	limit int
	order list.List // of *entry, the one used last in front
	byID  map[script.ID]*list.Element
}

type entry struct {
	id      script.ID
	program *engine.Program
}

func (p *programs) get(id script.ID) *engine.Program {
	e := p.byID[id]
	if e == nil {
		return nil
	}
	p.order.MoveToFront(e)
	found, _ := e.Value.(*entry)
	return found.program
}

func (p *programs) put(id script.ID, program *engine.Program) {
	p.byID[id] = p.order.PushFront(&entry{id, program})
	for p.order.Len() > p.limit {
		oldest := p.order.Back()
		p.order.Remove(oldest)
		if e, ok := oldest.Value.(*entry); ok {
			delete(p.byID, e.id)
		}
	}
}
