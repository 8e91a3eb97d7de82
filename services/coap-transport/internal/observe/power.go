package observe

import (
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// wakeDefault is how long a device that saves power is reachable after an uplink if its profile does not say (device-api §4.5).
const wakeDefault = 10 * time.Second

// power is when a device that saves power can be reached.
type power struct {
	uplink time.Duration // the last
	spent  bool          // E_DRX: the one message after the window was sent
}

func (p *power) heard(now time.Duration) { p.uplink, p.spent = now, false }

// saves reports whether o's device is not always reachable.
func saves(o *sluicepb.ProfileOptions) bool {
	return o.GetPowerMode() == "PSM" || o.GetPowerMode() == "E_DRX"
}

// reachable reports whether o's device can be sent something at now. What it allows beyond the window is used up by take.
func (p *power) reachable(now time.Duration, o *sluicepb.ProfileOptions) bool {
	switch o.GetPowerMode() {
	case "PSM":
		return now-p.uplink < window(o.GetPsmActivityTimerMs())
	case "E_DRX":
		return now-p.uplink < window(o.GetPagingWindowMs()) || !p.spent
	}
	return true
}

// take notes that something is sent at now.
func (p *power) take(now time.Duration, o *sluicepb.ProfileOptions) {
	if o.GetPowerMode() == "E_DRX" && now-p.uplink >= window(o.GetPagingWindowMs()) {
		p.spent = true
	}
}

func window(ms int64) time.Duration {
	if ms <= 0 {
		return wakeDefault
	}
	return time.Duration(ms) * time.Millisecond
}
