package ring

import (
	"sync"
	"sync/atomic"
	"time"
)

// term is a stretch of time through which this node could prove that its session lives. All leases taken in it end
// with it, at once, and do not come back: their partitions are taken again in the next.
type term struct {
	clock clock
	began time.Time
	until atomic.Int64 // time since began
	once  sync.Once
	ended chan struct{}
}

// live reports whether the term goes on; if its time is up, it ends it.
func (t *term) live() bool {
	select {
	case <-t.ended:
		return false
	default:
	}
	if t.left() > 0 {
		return true
	}
	t.end()
	return false
}

func (t *term) left() time.Duration {
	return time.Duration(t.until.Load()) - t.clock.Now().Sub(t.began)
}

func (t *term) end() { t.once.Do(func() { close(t.ended) }) }

// terms are the terms of a session, one after the other.
type terms struct {
	clock clock
	span  time.Duration // how long a proof lasts: the session's time-out less the margin

	mu      sync.Mutex
	current *term         // nil before the first proof
	next    chan struct{} // closed when a term begins
	over    bool          // the session is
}

func newTerms(c clock, span time.Duration) *terms {
	return &terms{clock: c, span: span, next: make(chan struct{})}
}

// prove says that ZooKeeper has answered a change that was sent at sent: the session lived then, so it lives for its
// time-out from then on. It never revives a term whose time was up.
func (s *terms) prove(sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.clock.Now().Sub(sent) >= s.span {
		return
	}
	if s.current == nil || !s.current.live() {
		s.current = &term{clock: s.clock, began: sent, ended: make(chan struct{})}
		s.current.until.Store(int64(s.span))
		close(s.next)
		s.next = make(chan struct{})
		return
	}
	until := int64(sent.Sub(s.current.began) + s.span)
	s.current.until.Store(max(until, s.current.until.Load()))
}

// now returns the current term, nil if there is none that is live, and what is closed when another begins.
func (s *terms) now() (current *term, next <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.live() {
		return s.current, s.next
	}
	return nil, s.next
}

// stop ends the current term: the session is over.
func (s *terms) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.current != nil {
		s.current.end()
	}
}

// left is how long the current term lasts without another proof, 0 if there is none.
func (s *terms) left() time.Duration {
	if t, _ := s.now(); t != nil {
		return max(0, t.left())
	}
	return 0
}
