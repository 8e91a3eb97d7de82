package rule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Options is what an Engine works with. Every field is required.
type Options struct {
	// Saver is the partition's writer; nobody else uses it.
	Saver *telemetry.Saver
	// Stored is called for each save of attributes, once durable.
	Stored func(*telemetry.Save)
	// Deleted is called for attributes that a node has deleted.
	Deleted func(telemetry.Deletion)
	// Finished is called once for each start of a flight, when it has ended. If it returns true the flight will be
	// started again, and its originator's later messages wait for that.
	Finished func(*Flight) (again bool)
	// Steady calls op until its error is not a PlatformFault, waiting in between, and returns that error, or ctx's.
	Steady func(ctx context.Context, doing string, op func() error) error
	// Chain finds one of a tenant's chains; ErrNoChain if there is none. It is called from the engine's goroutine.
	Chain func(ctx context.Context, tenant ident.TenantID, chain ident.ID) (*Chain, error)
	// HandOn returns when the message is durable elsewhere. It is called beside the engine's goroutine.
	HandOn func(ctx context.Context, o Onward) error
	// Ask sends a request to a device. It returns what is known at once, or nil if that comes later: then the message is Ask's. It is
	// called from the engine's goroutine.
	Ask func(ctx context.Context, a Asking) (*Reply, error)
	// Debug is told what nodes under debugging do; from the engine's goroutine.
	Debug func(Debugged)
	// Patient reports whether no line is too long: because the platform is being waited for, or because nobody else is held
	// up by a tenant's.
	Patient func() bool
	Now     func() time.Time

	Slots       int           // most nodes waiting for the outside at once, and the same for the store
	ScriptSlots int           // most waiting for scripts
	ScriptShare func() int    // how many of them may wait now
	HandOns     int           // most messages being handed on
	Line        int           // most of a tenant's messages in line for each of these; beyond, they fail
	Timeout     time.Duration // of one waiting node with one message
	Executions  int           // most steps of one message, and most messages a node may make of one
	Copies      int           // most messages in hand, copies counted; beyond, a node makes no further copies
}

// ErrNoChain says that a tenant has no such chain.
var ErrNoChain = errors.New("there is no such rule chain")

// copies bounds the steps of a flight with all its copies, as a multiple of Options.Executions.
const copies = 16

// Engine runs the messages of one partition through their chains. Every node sees the messages
// of one originator in the order in which their flights were started, whatever waits: the store, a
// waiting node, or a flight that is tried again. (Only a message the store itself refused goes along Failure after later ones.)
//
// An Engine belongs to one goroutine. Its methods return an error only when ctx has ended; the engine
// is of no more use then, and what it had in hand was not finished.
type Engine struct {
	o       Options
	turn    Turn
	now     time.Time
	stack   []branch // to be run, the next one last
	lanes   lanes
	parked  []parked
	emitted []Emission // of parked turns
	readers []branch   // nodes that read what waits to be saved
	idle    struct {   // the buffers of the other two, while they are walked
		parked  []parked
		emitted []Emission
	}
	waiting [pools]*slots
	busy    int
	live    int // branches in hand
	quiet   bool
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

// NewEngine returns an idle Engine.
func NewEngine(o Options) *Engine {
	e := &Engine{o: o, turn: Turn{tenure: ident.New()}, lanes: lanes{}, results: make(chan Result, 2*o.Slots+o.ScriptSlots+o.HandOns)}
	for pool, most := range [...]int{poolStore: o.Slots, poolScripts: o.ScriptSlots, poolOutside: o.Slots, poolHandOn: o.HandOns} {
		e.waiting[pool] = newSlots(most, o.Line)
	}
	e.waiting[poolScripts].now = o.ScriptShare
	return e
}

// Start sends f's message into its chain and runs it as far as it goes without waiting.
func (e *Engine) Start(ctx context.Context, f *Flight) error {
	f.Attempts++
	f.generation++
	f.err, f.where, f.executions, f.branches, f.handed, f.held = nil, "", 0, 1, 0, nil
	e.lanes.join(f)
	e.live++
	f.path = f.path[:0]
	f.began, f.work = e.o.Now(), workTime{}
	first := branch{flight: f, generation: f.generation, executions: int32(f.Executions), chain: f.Chain, message: &f.Message}
	switch {
	case f.Position != nil:
		if err := e.resume(ctx, first, f.Position); err != nil {
			return err
		}
	case f.Chain.first == none:
		e.leave(first)
	default:
		first.at = int32(f.Chain.first)
		e.stack = append(e.stack, first)
	}
	return e.run(ctx)
}

// resume puts b where it goes on. If that place is gone, so is the message, as with one for which there is no link.
func (e *Engine) resume(ctx context.Context, b branch, p *Position) error {
	chain, at, err := e.place(ctx, b.flight.Message.Tenant, Place{p.Chain, p.Node})
	if err != nil {
		return err
	}
	if at == none {
		e.leave(b)
		return nil
	}
	b.chain, b.at, b.hop = chain, int32(at), none
	for _, over := range p.Stack {
		chain, at, err := e.place(ctx, b.flight.Message.Tenant, over)
		if err != nil {
			return err
		}
		if at != none {
			b.stack = &frame{chain, int32(at), b.stack}
		}
	}
	if p.Relation == "" {
		e.stack = append(e.stack, b)
		return nil
	}
	e.push(b, p.Relation, b.message)
	e.leave(b)
	return nil
}

func (e *Engine) place(ctx context.Context, tenant ident.TenantID, p Place) (*Chain, int, error) {
	chain, err := e.o.Chain(ctx, tenant, p.Chain)
	if ctx.Err() != nil {
		return nil, none, ctx.Err()
	}
	if err != nil {
		return nil, none, nil //nolint:nilerr // a chain that is gone, or broken: so is the place in it
	}
	return chain, chain.find(p.Node), nil
}

// Cancel ends f, wherever its copies are, with an error. What they have done stays done; they do no more.
func (e *Engine) Cancel(ctx context.Context, f *Flight, why error) error {
	f.generation++
	e.live -= int(f.branches)
	f.branches = 0
	f.err, f.where = why, "rule chain "+f.lastPlace()
	e.end(f)
	return e.run(ctx)
}

func (f *Flight) lastPlace() string {
	if len(f.path) == 0 {
		return "(not entered)"
	}
	last := f.path[len(f.path)-1]
	return fmt.Sprintf("%q node %q", last.Chain.Name, last.Node())
}

// Save stores save with the next Flush; then is called after it, and may start flights. An error given to then is
// the store's refusal, an error of then ends the engine.
func (e *Engine) Save(save telemetry.Save, then func(ctx context.Context, err error) error) {
	e.parked = append(e.parked, parked{then: then, first: e.o.Saver.Add(save), count: 1})
}

// Waiting reports whether anything waits for Flush.
func (e *Engine) Waiting() bool { return len(e.parked) > 0 }

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
	readers := e.readers
	e.readers = nil
	for _, b := range readers {
		e.wait(ctx, b, poolStore)
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
	switch {
	case p.then != nil:
		if err := p.then(ctx, refusal); err != nil {
			return err
		}
	case p.over():
	case refusal != nil:
		e.follow(ctx, p.branch, Emission{Relation: Failure, Message: p.message, Err: refusal})
		e.leave(p.branch)
	default:
		e.followAll(ctx, p.branch, emissions)
		e.leave(p.branch)
	}
	return e.run(ctx)
}

func (e *Engine) run(ctx context.Context) error {
	if len(e.stack) > 0 {
		e.now = e.o.Now()
	}
	for len(e.stack) > 0 {
		b := e.stack[len(e.stack)-1]
		e.stack = e.stack[:len(e.stack)-1]
		if b.over() || !e.lanes.admit(b) {
			continue
		}
		if err := e.enter(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) enter(ctx context.Context, b branch) error {
	f, s := b.flight, b.step()
	f.executions++
	b.executions++
	b.hop = e.note(b)
	if s.debug.on {
		e.debugIn(b)
	}
	switch {
	case int(b.executions) > e.o.Executions || int(f.executions) > copies*e.o.Executions:
		f.failAt(b, fmt.Errorf("the message is processed by more than %d rule nodes", e.o.Executions))
		e.leave(b)
	case s.node == nil:
		e.turn.reset()
		e.depart(ctx, b, &e.turn, s.why)
	case s.waits != ForNothing:
		e.lanes.hold(f)
		if s.waits == ForStore && len(e.parked) > 0 {
			e.readers = append(e.readers, b)
			return nil
		}
		e.wait(ctx, b, poolOf[s.waits])
	default:
		f.work.touch(s.kind.Pure)
		e.turn.reset()
		err := work(ctx, b, &e.turn)
		if err != nil && PlatformFault(err) {
			err = e.again(ctx, b, &e.turn)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.depart(ctx, b, &e.turn, err)
	}
	return nil
}

// again has b's node work until the platform lets it.
func (e *Engine) again(ctx context.Context, b branch, turn *Turn) error {
	return e.o.Steady(ctx, "run node "+b.step().name, func() error {
		turn.reset()
		return work(ctx, b, turn)
	})
}

// leave ends one branch of its flight.
func (e *Engine) leave(b branch) {
	f := b.flight
	e.live--
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
