package state

import (
	"cmp"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// SessionLife is how long a session is remembered that is not announced again, ms.
const SessionLife = 180_000

// announceTime is how long a device whose session ended, of which only an earlier owner knew, may have another that
// nobody has announced to this one yet, ms.
const announceTime = 2_000

// Opened notes a session of d, or that it is open still (again). It returns the session that is over, nil if none is: the one it
// replaces, whatever its transport, or itself when it is announced again and a later one has replaced it. The device
// connected though another was there: that one may have been dead for long, its transport with it.
func (t *Tracker) Opened(d *Device, s Session, again bool) (over *Session) {
	if s.Once {
		t.polled(d, s)
		return nil
	}
	now := t.now().UnixMilli()
	before := d.Session
	switch {
	case before == nil:
	case before.ID == s.ID:
		before.seen, before.RPC = now, s.RPC
		return nil
	case again && before.later(&s):
		return &s
	default:
		// Whatever the clocks of the transports say: this one came later.
		s.OpenedAt = max(s.OpenedAt, before.OpenedAt+1)
	}
	at := s.OpenedAt
	s.seen, d.lost, d.closed = now, 0, 0
	d.Session = &s
	connected := at
	if again && d.disconnect > d.connect {
		connected = max(now, d.disconnect+1) // it was given up for lost
	}
	if connected > d.connect {
		d.connect = connected
		t.effects.Keep(d, []values.KeyValue{moment(attrConnect, connected)}, rule.ConnectEvent, d.document(false))
	}
	t.Active(d, at)
	return before
}

// polled notes a session that waits for a single downlink. Beyond the bound the oldest is forgotten: nothing comes to it any more.
func (t *Tracker) polled(d *Device, s Session) {
	s.seen = t.now().UnixMilli()
	if at := slices.IndexFunc(d.Polls, func(o Session) bool { return o.ID == s.ID }); at >= 0 {
		d.Polls[at].seen = s.seen
		return
	}
	if len(d.Polls) >= t.config.Polls {
		d.Polls = slices.Delete(d.Polls, 0, 1)
	}
	d.Polls = append(d.Polls, s)
	t.Active(d, s.OpenedAt)
}

// Subscribed notes whether a session of d takes requests to the device; it returns the session, nil if there is no such.
func (t *Tracker) Subscribed(d *Device, session ident.ID, rpc bool) *Session {
	if d.Session == nil || d.Session.ID != session {
		return nil
	}
	d.Session.RPC = rpc
	return d.Session
}

// Told returns the sessions of d that wants is true of, to tell them something; those that wait for a single downlink are over then.
func (d *Device) Told(wants func(*Session) bool) []Session {
	var told []Session
	if d.Session != nil && wants(d.Session) {
		told = append(told, *d.Session)
	}
	d.Polls = slices.DeleteFunc(d.Polls, func(s Session) bool {
		if wants(&s) {
			told = append(told, s)
			return true
		}
		return false
	})
	return told
}

// Waits reports whether a session still waits for its single downlink.
func (d *Device) Waits(session ident.ID) bool {
	return slices.ContainsFunc(d.Polls, func(s Session) bool { return s.ID == session })
}

// All returns every session of d.
func (d *Device) All() []Session {
	var all []Session
	if d.Session != nil {
		all = append(all, *d.Session)
	}
	return append(all, d.Polls...)
}

// Closed notes the end of a session of d. A device that loses its connection is still active until it has been silent
// for its timeout.
func (t *Tracker) Closed(d *Device, session ident.ID, at int64) {
	polls := len(d.Polls)
	d.Polls = slices.DeleteFunc(d.Polls, func(s Session) bool { return s.ID == session })
	switch {
	case len(d.Polls) < polls:
	case d.Session != nil && d.Session.ID == session:
		d.Session = nil
		t.disconnected(d, at)
	case d.Session == nil && d.connected(): // an earlier owner knew the session
		d.lost, d.closed = t.now().UnixMilli()-SessionLife+announceTime, at
	}
}

// Leave ends the wait for sessions of devices whose session ended, before another owner comes: that one would not know when it did.
// Should one be announced to it, the device has connected again.
func (t *Tracker) Leave() {
	for _, d := range t.devices {
		if d.closed != 0 {
			t.disconnected(d, d.closed)
		}
	}
}

// disconnected notes that d has no session any more.
func (t *Tracker) disconnected(d *Device, at int64) {
	d.lost, d.closed = 0, 0
	at = max(at, d.connect) // another transport's clock may be behind
	if at <= d.disconnect {
		return
	}
	d.disconnect = at
	t.effects.Keep(d, []values.KeyValue{moment(attrDisconnect, at)}, rule.DisconnectEvent, d.document(true))
}

// expire drops the sessions of d that are not announced any more: their transport is dead. A device whose session an
// earlier owner knew gets as long to be announced to this one.
func (t *Tracker) expire(d *Device, now int64) {
	d.Polls = slices.DeleteFunc(d.Polls, func(s Session) bool { return now-s.seen > SessionLife })
	had := d.Session != nil
	if had && now-d.Session.seen > SessionLife {
		d.Session = nil
	}
	switch {
	case d.Session != nil || !d.connected():
		d.lost = 0
	case had || d.lost != 0 && now-d.lost > SessionLife:
		t.disconnected(d, cmp.Or(d.closed, now))
	case d.lost == 0:
		d.lost = now
	}
}
