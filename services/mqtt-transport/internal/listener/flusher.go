package listener

import (
	"sync/atomic"
)

// flusher writes what sessions owe when their reader is not the one to do it: mostly the
// acknowledgements of messages the bus has. Sessions queue up while it writes for others, so that
// under load one write carries many acknowledgements and the flusher is seldom woken.
type flusher struct {
	head atomic.Pointer[conn] // the connections queued, newest first
	wake chan struct{}
}

func newFlusher() *flusher { return &flusher{wake: make(chan struct{}, 1)} }

// add queues c, which must not be queued already. It does not block.
func (f *flusher) add(c *conn) {
	for {
		head := f.head.Load()
		c.queued = head
		if !f.head.CompareAndSwap(head, c) {
			continue
		}
		if head == nil {
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
		return
	}
}

// run writes until stop is closed.
func (f *flusher) run(stop <-chan struct{}) {
	for {
		select {
		case <-f.wake:
		case <-stop:
			return
		}
		for c := f.takeAll(); c != nil; {
			next := c.queued
			c.queued = nil
			c.flush(true)
			c = next
		}
	}
}

// takeAll empties the queue and returns it oldest first.
func (f *flusher) takeAll() *conn {
	var oldest *conn
	for c := f.head.Swap(nil); c != nil; {
		next := c.queued
		c.queued = oldest
		oldest, c = c, next
	}
	return oldest
}
