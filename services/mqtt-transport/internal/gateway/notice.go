package gateway

import (
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
)

// notify tells the gateway that a device was refused, if it can be told. It gets so many notices a second: what it must know
// is in the acknowledgement, and a whole message refused would drown it.
func (g *Gateway) notify(device string, reason int) {
	if !g.peer.Notices || device == "" {
		return
	}
	now := time.Now().UnixMilli()
	g.mu.Lock()
	if now-g.noticed >= 1000 {
		g.noticed, g.notices = now, 0
	}
	g.notices++
	unsent := g.notices > g.hub.bounds.Notices || g.closed
	g.mu.Unlock()
	if unsent {
		g.hub.metrics.unsent.Inc()
		return
	}
	if payload := g.form().notice(device, reason); payload != nil {
		g.connection.Send(topic.NoFilter, topic.GatewayNotice, payload)
	}
}
