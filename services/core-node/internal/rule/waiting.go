package rule

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pool is one of the bounds on what waits at once.
type pool uint8

const (
	poolStore pool = iota
	poolScripts
	poolOutside
	poolHandOn
	pools
)

var poolOf = [...]pool{ForStore: poolStore, ForScripts: poolScripts, ForOutside: poolOutside}

// Result is what came of something that waited.
type Result struct {
	branch branch
	pool   pool
	turn   *Turn
	onward *Onward       // handed on, instead of a node's turn
	waited time.Duration // for the platform, before the node could do its work
	err    error
}

// Busy reports whether anything is waited for.
func (e *Engine) Busy() bool { return e.busy > 0 }

// Results delivers what came of waiting; hand each to Resume.
func (e *Engine) Results() <-chan Result { return e.results }

// Quiet has nothing begin its work any more: what stands in line stays in hand, unless nodes with effects have worked on the message
// already.
func (e *Engine) Quiet() { e.quiet = true }

// Resume goes on after something that waited.
func (e *Engine) Resume(ctx context.Context, r Result) error {
	e.busy--
	s := e.waiting[r.pool]
	s.leave(r.branch.chain.Tenant)
	for {
		next, ok := s.next()
		if !ok {
			break
		}
		if e.stays(next) {
			s.leave(next.chain.Tenant)
			continue
		}
		e.dispatch(ctx, next, r.pool)
	}
	if !r.branch.over() && r.onward == nil {
		r.branch.flight.work.end(e.o.Now(), r.waited)
	}
	switch {
	case r.branch.over():
	case r.onward != nil:
		e.handedOn(ctx, r)
	default:
		e.depart(ctx, r.branch, r.turn, r.err)
	}
	return e.run(ctx)
}

// Close waits for what is at work; the context it was started under has ended.
func (e *Engine) Close() { e.work.Wait() }

// wait runs b's node, or hands b's message on, as soon as there is a slot.
func (e *Engine) wait(ctx context.Context, b branch, p pool) {
	if e.stays(b) {
		return
	}
	now, err := e.waiting[p].take(b, p == poolHandOn || e.o.Patient())
	switch {
	case err != nil && e.lanes.park(b): // it was ahead of its turn
	case err != nil:
		e.follow(ctx, b, Emission{Relation: Failure, Message: b.message, Err: err})
		e.leave(b)
	case now:
		e.dispatch(ctx, b, p)
	}
}

// stays reports whether b is not to begin.
func (e *Engine) stays(b branch) bool { return e.quiet && b.onward == nil && !b.flight.work.begun }

func (e *Engine) dispatch(ctx context.Context, b branch, p pool) {
	if b.over() {
		e.busy++
		e.results <- Result{branch: b, pool: p}
		return
	}
	e.busy++
	s := b.step()
	if b.onward != nil {
		e.work.Go(func() {
			err := e.o.Steady(ctx, "hand on a message", func() error { return e.o.HandOn(ctx, *b.onward) })
			e.results <- Result{branch: b, pool: p, onward: b.onward, err: err}
		})
		return
	}
	began := e.o.Now()
	b.flight.work.touch(s.kind.Pure)
	b.flight.work.begin(began)
	e.work.Go(func() {
		turn := &Turn{tenure: e.turn.tenure}
		last := began // when the node was called last
		err := e.o.Steady(ctx, "run node "+s.name, func() error {
			last = e.o.Now()
			limited, cancel := context.WithTimeout(ctx, e.o.Timeout)
			defer cancel()
			turn.reset()
			err := work(limited, b, turn)
			if err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) && !PlatformFault(err) {
				return fmt.Errorf("node did not end within %v", e.o.Timeout)
			}
			return err
		})
		e.results <- Result{branch: b, pool: p, turn: turn, waited: last.Sub(began), err: err}
	})
}
