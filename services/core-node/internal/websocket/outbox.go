package websocket

import "sync"

// outbox holds what one client has yet to be sent, in order and within bounds. While it is
// long, updates of one subscription are merged into the newest values.
type outbox struct {
	settings *Settings
	wake     chan struct{} // has a token when something was put in

	mu     sync.Mutex
	items  []item
	newest map[int64]*update // of each subscription, the update that waits last
	bytes  int
	closed bool
}

// item is a frame as it is, or an update that is written out when its turn comes.
type item struct {
	ready  []byte
	update *update
}

func (i item) bytes() int {
	if i.update != nil {
		return i.update.bytes
	}
	return len(i.ready)
}

func newOutbox(s *Settings) *outbox {
	return &outbox{settings: s, wake: make(chan struct{}, 1), newest: map[int64]*update{}}
}

// put adds a frame or, while many wait, merges it; fits is false when the client is too far behind.
func (o *outbox) put(i item) (merged, fits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false, true
	}
	if i.update != nil && !i.update.answer && o.behind() {
		if waiting := o.newest[i.update.subscription]; waiting != nil {
			o.bytes -= waiting.bytes
			waiting.merge(i.update)
			o.bytes += waiting.bytes
			return true, o.bytes <= o.settings.PendingBytes
		}
	}
	// One frame of any size is taken when nothing else waits: an answer may be large.
	if len(o.items) >= o.settings.Pending || len(o.items) > 0 && o.bytes+i.bytes() > o.settings.PendingBytes {
		return false, false
	}
	o.items = append(o.items, i)
	o.bytes += i.bytes()
	if i.update != nil && !i.update.answer {
		o.newest[i.update.subscription] = i.update
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return false, true
}

// behind reports whether more waits than a client that keeps up ever leaves: one store of many devices'
// readings is many frames at once.
func (o *outbox) behind() bool {
	return len(o.items) >= min(o.settings.CoalesceAfter, o.settings.Pending/2) || o.bytes >= o.settings.PendingBytes/2
}

// take removes the first frame.
func (o *outbox) take() (item, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) == 0 {
		return item{}, false
	}
	first := o.items[0]
	o.items[0] = item{}
	o.items = o.items[1:]
	o.bytes -= first.bytes()
	if u := first.update; u != nil && o.newest[u.subscription] == u {
		delete(o.newest, u.subscription)
	}
	return first, true
}

// close drops what waits and all that comes.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.items, o.newest = true, nil, nil
}
