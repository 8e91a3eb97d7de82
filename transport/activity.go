package transport

import (
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// activity reports devices that were active without sending an uplink: their owners see those
// that did by the uplinks.
type activity struct {
	t *Transport

	mu   sync.Mutex
	due  []*Device // each once: deviceState.reporting
	last int64     // when reports were last sent, ms since the epoch
}

// note says that d was active at now. It costs two atomic writes when d is noted already.
func (a *activity) note(d *Device, now time.Time) {
	d.state.lastActive.Store(now.UnixMilli())
	if d.state.reporting.Swap(true) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.due) >= a.t.config.Sessions {
		d.state.reporting.Store(false)
		return
	}
	a.due = append(a.due, d)
}

// report sends what was noted since the last time. What the bus has no room for waits for the next.
func (a *activity) report(now time.Time) {
	a.mu.Lock()
	due, since := a.due, a.last
	a.due, a.last = nil, now.UnixMilli()
	a.mu.Unlock()
	for i, d := range due {
		if d.state.lastUplink.Load() < since {
			if err := a.send(d); err != nil {
				a.putBack(due[i:])
				return
			}
		}
		d.state.reporting.Store(false)
	}
}

func (a *activity) putBack(due []*Device) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = append(due, a.due...)
}

func (a *activity) send(d *Device) error {
	report := &sluicepb.Activity{LastActivityMs: d.state.lastActive.Load()}
	if s := a.t.sessions.of(d.ID); s != nil {
		report.SessionId = s.id[:]
	}
	message := coreMessage(d)
	message.Body = &sluicepb.CoreMessage_Activity{Activity: report}
	return a.t.report(message, d, "activity", nil)
}
