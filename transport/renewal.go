package transport

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

// renew announces again every session whose last announcement is older than the renewal time:
// what the device's owner knows of it is forgotten otherwise. It stops at the first that the bus
// does not take; the rest waits for the next time.
func (r *sessions) renew(now time.Time) {
	for {
		r.mu.Lock()
		s := r.oldest
		if s == nil || now.Sub(s.announced) < r.t.config.SessionRenewal {
			r.mu.Unlock()
			return
		}
		err := r.announceAgain(s, now)
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// announceAgain tells the owner that s is open still. Only under the lock.
func (r *sessions) announceAgain(s *session, now time.Time) error {
	if err := r.announce(s, true, nil); err != nil {
		return err
	}
	s.announced = now
	r.unlink(s)
	r.append(s)
	return nil
}

// refresh notes that a device with a session changed, so that its uplinks carry its present name,
// profile and customer.
func (r *sessions) refresh(d ident.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byDevice[d] != nil {
		r.stale[d] = struct{}{}
	}
}

// refreshAll is refresh for all devices that concerns.
func (r *sessions) refreshAll(concerns func(*Device) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d, s := range r.byDevice {
		if concerns(s.device) {
			r.stale[d] = struct{}{}
		}
	}
}

// What changed is asked about again every readEvery, in as many calls at a time as leave most room for devices that come.
const (
	readEvery   = 50 * time.Millisecond
	readAtATime = 4 // the part of all calls is one in so many
)

// followChanges asks about the devices noted by refresh until ctx ends.
func (r *sessions) followChanges(ctx context.Context) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.readAgain()
		}
	}
}

// readAgain asks the core about devices noted by refresh, as long as few enough calls are on their way. The answer reaches the sessions
// through the devices' shared state.
func (r *sessions) readAgain() {
	slots := r.t.credentials.slots
	for len(slots) <= cap(slots)/readAtATime {
		select {
		case slots <- struct{}{}:
		default:
			return
		}
		c, found := r.nextStale()
		if !found {
			<-slots
			return
		}
		r.t.join(c, true)
	}
}

func (r *sessions) nextStale() (c Credentials, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.stale {
		delete(r.stale, d)
		return r.byDevice[d].device.credentials, true
	}
	return c, false
}
