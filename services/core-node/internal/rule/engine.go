package rule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Options is what an Engine works with. Every field is required.
type Options struct {
	// Saver is the partition's writer; nobody else uses it.
	Saver *telemetry.Saver
	// Stored is called for each save of attributes, once durable.
	Stored func(*telemetry.Save)
	// Finished is called once for each start of a flight, when it has ended. If it returns true the flight will be
	// started again, and its originator's later messages wait for that.
	Finished func(*Flight) (again bool)
	// Steady calls op until its error is not a PlatformFault, waiting in between, and returns that error, or ctx's.
	Steady func(ctx context.Context, doing string, op func() error) error

	Slots      int           // most Blocking nodes at work at once
	Timeout    time.Duration // of one Blocking node with one message
	Executions int           // most steps of one flight
}

// Engine runs the messages of one partition through their chains. Every node sees the messages
// of one originator in the order in which their flights were started, whatever waits: the store, a
// Blocking node, or a flight that is tried again. (Only a message the store itself refused goes along Failure after later ones.)
//
// An Engine belongs to one goroutine. Its methods return an error only when ctx has ended; the engine
// is of no more use then, and what it had in hand was not finished.
type Engine struct {
	o       Options
	turn    Turn
	stack   []branch // to be run, the next one last
	lanes   lanes
	parked  []parked
	emitted []Emission // of parked turns
	idle    struct {   // the buffers of the other two, while they are walked
		parked  []parked
		emitted []Emission
	}
	busy    int
	queue   []branch // for Blocking nodes, when every slot is taken
	results chan Result
	work    sync.WaitGroup
}

// parked waits for the saves first to first+count-1.
type parked struct {
	branch
	then         func(ctx context.Context, err error) error // instead of a branch
	first, count int
	from, to     int // of emitted
}

// Result is what came of a Blocking node.
type Result struct {
	branch branch
	turn   *Turn
	err    error
}

// NewEngine returns an idle Engine.
func NewEngine(o Options) *Engine {
	return &Engine{o: o, lanes: lanes{}, results: make(chan Result, o.Slots)}
}

// Start sends f's message into its chain and runs it as far as it goes without waiting.
func (e *Engine) Start(ctx context.Context, f *Flight) error {
	f.Attempts++
	f.err, f.where, f.executions, f.branches = nil, "", 0, 1
	if f.Chain.first == none {
		e.end(f)
	} else {
		e.stack = append(e.stack, branch{f, f.Chain.first, &f.Message})
	}
	return e.run(ctx)
}

// Save stores save with the next Flush; then is called after it, and may start flights. An error given to then is
// the store's refusal, an error of then ends the engine.
func (e *Engine) Save(save telemetry.Save, then func(ctx context.Context, err error) error) {
	e.parked = append(e.parked, parked{then: then, first: e.o.Saver.Add(save), count: 1})
}

// Waiting reports whether anything waits for Flush.
func (e *Engine) Waiting() bool { return len(e.parked) > 0 }

// Busy reports whether any Blocking node is at work.
func (e *Engine) Busy() bool { return e.busy > 0 }

// Flush makes everything saved so far durable and goes on with what waited for that, which may
// save more.
func (e *Engine) Flush(ctx context.Context) error {
	var refused []telemetry.Refusal
	err := e.o.Steady(ctx, "store a pack", func() (err error) {
		refused, err = e.o.Saver.Flush(ctx, e.o.Stored)
		return err
	})
	if err != nil {
		return err
	}
	waited, emitted := e.parked, e.emitted
	e.parked, e.emitted = e.idle.parked[:0], e.idle.emitted[:0]
	for i := range waited {
		p := &waited[i]
		var why error
		for len(refused) > 0 && refused[0].Index < p.first+p.count {
			why, refused = refused[0].Err, refused[1:]
		}
		if err := e.goOn(ctx, p, emitted[p.from:p.to], why); err != nil {
			return err
		}
	}
	clear(waited)
	clear(emitted)
	e.idle.parked, e.idle.emitted = waited, emitted
	return nil
}

func (e *Engine) goOn(ctx context.Context, p *parked, emissions []Emission, refusal error) error {
	if p.then != nil {
		if err := p.then(ctx, refusal); err != nil {
			return err
		}
		return e.run(ctx)
	}
	if refusal != nil {
		e.follow(p.branch, Emission{Failure, p.message, refusal})
	} else {
		e.followAll(p.branch, emissions)
	}
	e.leave(p.flight)
	return e.run(ctx)
}

// Results delivers what came of Blocking nodes; hand each to Resume.
func (e *Engine) Results() <-chan Result { return e.results }

// Resume goes on after a Blocking node.
func (e *Engine) Resume(ctx context.Context, r Result) error {
	e.busy--
	if len(e.queue) > 0 {
		next := e.queue[0]
		e.queue = e.queue[1:]
		e.dispatch(ctx, next)
	}
	e.depart(r.branch, r.turn, r.err)
	return e.run(ctx)
}

// Close waits for the Blocking nodes at work; the context they were started under has ended.
func (e *Engine) Close() { e.work.Wait() }

func (e *Engine) run(ctx context.Context) error {
	for len(e.stack) > 0 {
		b := e.stack[len(e.stack)-1]
		e.stack = e.stack[:len(e.stack)-1]
		if !e.lanes.admit(b) {
			continue
		}
		if err := e.enter(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) enter(ctx context.Context, b branch) error {
	s := &b.flight.Chain.steps[b.at]
	b.flight.executions++
	switch {
	case int(b.flight.executions) > e.o.Executions:
		b.flight.failAt(b.at, fmt.Errorf("the message is processed by more than %d rule nodes", e.o.Executions))
		e.leave(b.flight)
	case s.node == nil:
		e.turn.reset()
		e.depart(b, &e.turn, s.why)
	case s.kind.Blocking:
		e.lanes.hold(b.flight)
		e.dispatch(ctx, b)
	default:
		e.turn.reset()
		err := process(ctx, s.node, b.message, &e.turn)
		if err != nil && PlatformFault(err) {
			err = e.again(ctx, s, b.message, &e.turn)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.depart(b, &e.turn, err)
	}
	return nil
}

// again has a node process m until the platform lets it.
func (e *Engine) again(ctx context.Context, s *step, m *Message, turn *Turn) error {
	return e.o.Steady(ctx, "run node "+s.name, func() error {
		turn.reset()
		return process(ctx, s.node, m, turn)
	})
}

// process keeps a node's panic to the message that caused it.
func process(ctx context.Context, n Node, m *Message, turn *Turn) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("node panicked: %v", r)
		}
	}()
	return n.Process(ctx, m, turn)
}

func (e *Engine) dispatch(ctx context.Context, b branch) {
	if e.busy == e.o.Slots {
		e.queue = append(e.queue, b)
		return
	}
	e.busy++
	s := &b.flight.Chain.steps[b.at]
	e.work.Go(func() {
		turn := &Turn{}
		err := e.o.Steady(ctx, "run node "+s.name, func() error {
			limited, cancel := context.WithTimeout(ctx, e.o.Timeout)
			defer cancel()
			turn.reset()
			err := process(limited, s.node, b.message, turn)
			if err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("node did not end within %v", e.o.Timeout)
			}
			return err
		})
		e.results <- Result{b, turn, err}
	})
}

// depart takes b's turn on: at once when it saved nothing, else after the next Flush.
func (e *Engine) depart(b branch, turn *Turn, err error) {
	if err != nil {
		e.follow(b, Emission{Failure, b.message, err})
		e.leave(b.flight)
		return
	}
	if len(turn.saves) == 0 {
		e.followAll(b, turn.emissions)
		e.leave(b.flight)
		return
	}
	p := parked{branch: b, count: len(turn.saves), from: len(e.emitted)}
	for i := range turn.saves {
		index := e.o.Saver.Add(turn.saves[i])
		if i == 0 {
			p.first = index
		}
	}
	s := &b.flight.Chain.steps[b.at]
	for _, out := range turn.emissions {
		e.emitted = append(e.emitted, out)
		if len(s.follow(out.Relation)) > 0 {
			e.lanes.hold(b.flight)
		}
	}
	p.to = len(e.emitted)
	e.parked = append(e.parked, p)
}

// followAll pushes what emissions lead to so that the first is run first.
func (e *Engine) followAll(b branch, emissions []Emission) {
	for i := len(emissions) - 1; i >= 0; i-- {
		e.follow(b, emissions[i])
	}
}

func (e *Engine) follow(b branch, out Emission) {
	to := b.flight.Chain.steps[b.at].follow(out.Relation)
	if len(to) == 0 {
		if out.Relation == Failure {
			b.flight.failAt(b.at, out.Err)
		}
		return
	}
	b.flight.branches += int32(len(to))
	for i := len(to) - 1; i >= 0; i-- {
		e.stack = append(e.stack, branch{b.flight, to[i], out.Message})
	}
}

// leave ends one branch of f.
func (e *Engine) leave(f *Flight) {
	if f.branches--; f.branches == 0 {
		e.end(f)
	}
}

func (e *Engine) end(f *Flight) {
	if e.o.Finished(f) {
		e.lanes.hold(f)
		return
	}
	waited := e.lanes.release(f)
	for i := len(waited) - 1; i >= 0; i-- {
		e.stack = append(e.stack, waited[i])
	}
}
