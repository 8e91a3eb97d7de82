package rule

import (
	"context"
	"errors"
	"fmt"
)

// depart takes b's turn on: at once when it saved nothing, else after the next Flush.
func (e *Engine) depart(ctx context.Context, b branch, turn *Turn, err error) {
	if err != nil {
		e.follow(ctx, b, Emission{Relation: Failure, Message: b.message, Err: err})
		e.leave(b)
		return
	}
	if err := e.tooMany(len(turn.emissions)); err != nil {
		e.follow(ctx, b, Emission{Relation: Failure, Message: b.message, Err: err})
		e.leave(b)
		return
	}
	b.flight.final = b.flight.final || turn.final
	for _, d := range turn.deleted {
		e.o.Deleted(d)
	}
	if len(turn.saves) == 0 {
		e.followAll(ctx, b, turn.emissions)
		e.leave(b)
		return
	}
	p := parked{branch: b, count: len(turn.saves), from: len(e.emitted)}
	for i := range turn.saves {
		index := e.o.Saver.Add(turn.saves[i])
		if i == 0 {
			p.first = index
		}
	}
	if b.hop != none {
		b.flight.path[b.hop].saved = int32(p.count)
	}
	s := b.step()
	for _, out := range turn.emissions {
		e.emitted = append(e.emitted, out)
		if out.way != along || len(s.follow(out.Relation)) > 0 {
			e.lanes.hold(b.flight)
		}
	}
	p.to = len(e.emitted)
	e.parked = append(e.parked, p)
}

// tooMany refuses what would let one message grow without bound: a node that makes too many messages of it, or copies while there
// are too many in hand.
func (e *Engine) tooMany(made int) error {
	switch {
	case made > e.o.Executions:
		return fmt.Errorf("a node made %d messages of one, %d are allowed", made, e.o.Executions)
	case made > 1 && e.live+made > e.o.Copies:
		return fmt.Errorf("%d messages are in hand: there is no room for %d more", e.live, made)
	}
	return nil
}

// followAll pushes what emissions lead to so that the first is run first.
func (e *Engine) followAll(ctx context.Context, b branch, emissions []Emission) {
	for i := len(emissions) - 1; i >= 0; i-- {
		e.follow(ctx, b, emissions[i])
	}
}

// follow takes one emission of b on its way.
func (e *Engine) follow(ctx context.Context, b branch, out Emission) {
	if out.way == ask {
		e.ask(ctx, b, out)
		return
	}
	e.noteLeft(b, out)
	if b.step().debug.on && !out.again() {
		e.debugOut(b, out)
	}
	switch out.way {
	case along:
		e.along(ctx, b, out)
	case enter:
		e.enterChain(ctx, b, out)
	case back:
		e.back(b, out)
	case requeue:
		e.handOn(ctx, b, Onward{Message: out.Message, Position: b.position(out.Relation), Queue: out.queue})
	case later:
		e.handOn(ctx, b, Onward{Message: out.Message, Position: b.position(out.Relation), Queue: b.flight.Message.Queue, At: out.at, Place: out.place, Yields: out.yields})
	case raise:
		e.handOn(ctx, b, Onward{Message: out.Message, Queue: out.queue})
	case tell:
		e.handOn(ctx, b, Onward{Message: out.Message, Answer: out.answer})
	}
}

func (e *Engine) along(ctx context.Context, b branch, out Emission) {
	to := b.step().follow(out.Relation)
	if len(to) == 0 {
		if out.Relation == Failure {
			b.flight.failAt(b, out.Err)
		}
		return
	}
	made := b.flight.Tick != nil && b.message == &b.flight.Message // by a Source: a message with a fate of its own
	if made || out.Message.Originator != b.flight.Message.Originator {
		e.handOn(ctx, b, Onward{Message: out.Message, Position: b.position(out.Relation), Queue: b.flight.Message.Queue})
		return
	}
	e.push(b, out.Relation, out.Message)
}

// push has m enter every step that relation leads to from b.
func (e *Engine) push(b branch, relation Relation, m *Message) {
	to := b.step().follow(relation)
	e.branch(b.flight, len(to))
	next := b
	next.message = m
	for i := len(to) - 1; i >= 0; i-- {
		next.at = int32(to[i])
		e.stack = append(e.stack, next)
	}
}

// branch counts n more branches of f.
func (e *Engine) branch(f *Flight, n int) {
	f.branches += int32(n)
	e.live += n
}

// enterChain sends the message to the first node of another chain, which b's node is noted to have entered.
func (e *Engine) enterChain(ctx context.Context, b branch, out Emission) {
	refuse := func(err error) { e.along(ctx, b, Emission{Relation: Failure, Message: out.Message, Err: err}) }
	switch {
	case out.chain == b.chain.ID:
		refuse(errors.New("a rule chain cannot enter itself"))
		return
	case b.stack.holds(b.chain.ID, b.at):
		refuse(fmt.Errorf("loop: rule chain %q has entered %s from here already", b.chain.Name, out.chain))
		return
	}
	chain, err := e.o.Chain(ctx, b.chain.Tenant, out.chain)
	if err != nil {
		refuse(fmt.Errorf("enter rule chain %s: %w", out.chain, err))
		return
	}
	if chain.first == none {
		return
	}
	next := b
	next.stack = &frame{b.chain, b.at, b.stack}
	next.chain, next.at, next.message = chain, int32(chain.first), out.Message
	e.branch(b.flight, 1)
	e.stack = append(e.stack, next)
}

// back goes on behind the node that entered b's chain.
func (e *Engine) back(b branch, out Emission) {
	if b.stack == nil {
		return
	}
	relation := Relation(b.step().name)
	over := b
	over.chain, over.at, over.stack = b.stack.chain, b.stack.at, b.stack.up
	e.push(over, relation, out.Message)
}

// handOn gives a message to the bus or to the timers; b's flight waits for that.
func (e *Engine) handOn(ctx context.Context, b branch, o Onward) {
	e.lanes.hold(b.flight)
	e.branch(b.flight, 1)
	o.Executions = int(b.executions)
	if o.Position != nil && o.Position.Relation == "" {
		o.Executions = b.flight.Executions // to the same node: it may wait as often as it likes
	}
	if o.Position != nil {
		o.Message = b.flight.named(o.Message, o.Position)
	}
	b.onward = &o
	e.wait(ctx, b, poolHandOn)
}

// handedOn ends the wait for it. What could not be handed on goes along Failure.
func (e *Engine) handedOn(ctx context.Context, r Result) {
	b := r.branch
	b.onward = nil
	switch {
	case r.err != nil:
		e.along(ctx, b, Emission{Relation: Failure, Message: b.message, Err: fmt.Errorf("hand on: %w", r.err)})
	case r.onward.Answer != nil:
		e.along(ctx, b, Emission{Relation: Success, Message: r.onward.Message})
	}
	e.leave(b)
}
