package script

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/script"
)

// Call runs the script with texts and returns its result as JSON, "" when it returned undefined. An *Error is the script's own; any other
// error but ctx's is the platform's, and the same call may be made again.
func (s *Script) Call(ctx context.Context, args []string) (result string, err error) {
	began := time.Now()
	defer func() { s.scripts.metrics.ended(err, time.Since(began)) }()
	if err := s.scripts.blocked(s.state); err != nil {
		return "", err
	}
	most := s.scripts.o.Config.ArgChars
	if longer(most, args...) {
		s.scripts.failed(s.state)
		return "", &Error{Kind: TooLarge, Text: fmt.Sprintf("Script input arguments exceed maximum allowed total args size of %d symbols", most)}
	}
	a, err := s.scripts.ask(ctx, s.state, args, false)
	if err == nil {
		err = outcome(&a)
	}
	if own := (*Error)(nil); errors.As(err, &own) && own.counts() {
		s.scripts.failed(s.state)
	}
	if err != nil {
		return "", err
	}
	return a.Text, nil
}

// Compile asks an executor whether the body is a function's. The error is as Call's.
func (s *Script) Compile(ctx context.Context) error {
	a, err := s.scripts.ask(ctx, s.state, nil, true)
	if err != nil {
		return err
	}
	return outcome(&a)
}

// ask makes one call and waits for its answer.
func (s *Scripts) ask(ctx context.Context, of *state, args []string, compile bool) (script.Answer, error) {
	c := &call{of: of, args: args, compile: compile, budget: s.o.Config.Budget, end: make(chan ending, 1)}
	if err := s.pending.enter(c); err != nil {
		return script.Answer{}, err
	}
	s.metrics.pending.Inc()
	defer func() {
		s.pending.leave(c)
		s.metrics.pending.Dec()
	}()
	if err := s.post.send(c, of.part(), false); err != nil {
		return script.Answer{}, err
	}
	timer := time.NewTimer(c.budget)
	defer timer.Stop()
	select {
	case e := <-c.end:
		return e.answer, e.err
	case <-timer.C:
		return script.Answer{}, away(fmt.Sprintf("no executor answered within %v", c.budget))
	case <-ctx.Done():
		return script.Answer{}, ctx.Err()
	}
}

// part returns the key of the partition the next call goes to: the script's own, or one of several while many are under way.
func (s *state) part() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := min(1+s.under/spread, mostParts)
	if parts == 1 {
		return s.key
	}
	s.turn++
	if n := s.turn % parts; n > 0 {
		return fmt.Sprintf("%s/%d", s.key, n)
	}
	return s.key
}

// receive takes a record of answers.
func (s *Scripts) receive(r bus.Record) {
	_, answers, err := script.DecodeAnswers(r.Value)
	if err != nil {
		s.metrics.malformed.Inc()
		s.o.Log.Warn("answers of an executor", "err", err)
		return
	}
	for i := range answers {
		s.answer(&answers[i])
	}
}

// answer gives a call its answer, or sends the text that the executor lacks. Only the first answer counts.
func (s *Scripts) answer(a *script.Answer) {
	c := s.pending.get(a.ID)
	if c == nil {
		s.metrics.late.Inc()
		return
	}
	s.post.alive(c)
	if a.Outcome == script.NotFound && c.mayResend() {
		if err := s.post.send(c, c.where(), true); err != nil {
			c.finish(ending{err: err})
		}
		return
	}
	if !c.finish(ending{answer: *a}) {
		s.metrics.late.Inc()
	}
}

// Run asks again where no answer comes, until ctx ends.
func (s *Scripts) Run(ctx context.Context) error {
	ticker := time.NewTicker(max(s.o.Config.Budget/quarters/looksPerQuarter, time.Millisecond))
	defer ticker.Stop()
	var waiting []*call
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		late := s.pending.overdue(time.Now())
		late, waiting = s.sort(append(waiting, late...))
		for _, c := range late {
			s.metrics.again.Inc()
			s.post.missed(c)
			if err := s.post.send(c, s.post.elsewhere(c), true); err != nil {
				s.o.Log.Debug("ask another executor", "err", err) // its next quarter tries again, and its budget ends it
			}
		}
	}
}

// sort tells overdue calls that are to be asked elsewhere from those that wait their turn: where the executor answers others,
// asking another, too, would only add to the work. They are looked at again with each tick, so that a call does not wait for its
// next quarter when the executor falls silent meanwhile; then that quarter is the last moment.
func (s *Scripts) sort(overdue []*call) (late, waiting []*call) {
	seen := make(map[uint64]bool, len(overdue)) // its quarter may have come while it waited
	half := s.o.Config.Budget / quarters / 2
	for _, c := range overdue {
		switch {
		case seen[c.id] || s.pending.get(c.id) == nil:
		case c.attempt < quarters/2 && s.post.answers(c, half), c.sentWithin(half):
			waiting = append(waiting, c)
		default:
			late = append(late, c)
		}
		seen[c.id] = true
	}
	return late, waiting
}

// looksPerQuarter is how often a quarter of the budget is looked at.
const looksPerQuarter = 8
