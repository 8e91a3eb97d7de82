package gateway

import (
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sluice-iot/sluice/transport"
)

// telemetryTopic is where the readings come whose latencies are told of.
const telemetryTopic = "v1/gateway/telemetry"

// latencies is how long readings took through each connector of a gateway, as its metadata says: until it had published them,
// and from there to here. Every MetricsEvery that becomes a reading of the gateway itself, "gatewayMetrics" (device-api
// §2.3). The clocks are two, so the latter may be below zero.
type latencies struct {
	mu         sync.Mutex
	closed     bool
	connectors map[string]*connector
	timer      *time.Timer // set while there is anything to tell
}

type connector struct{ gateway, transport span }

// span is the shortest, the longest and all of some times, in ms.
type span struct{ count, sum, min, max int64 }

func (s *span) add(ms int64) {
	if s.count == 0 {
		s.min, s.max = ms, ms
	}
	s.count++
	s.sum += ms
	s.min, s.max = min(s.min, ms), max(s.max, ms)
}

// add notes readings that came now, ms since the epoch.
func (l *latencies) add(g *Gateway, found []metadata, now int64) {
	if len(found) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if l.connectors == nil {
		l.connectors = map[string]*connector{}
	}
	for _, m := range found {
		c := l.connectors[m.connector]
		if c == nil {
			if len(l.connectors) >= g.hub.bounds.Connectors {
				g.hub.metrics.unmeasured.Inc()
				continue
			}
			c = &connector{}
			l.connectors[m.connector] = c
		}
		c.gateway.add(m.published - m.received)
		c.transport.add(now - m.published)
	}
	if l.timer == nil {
		l.timer = g.hub.after(g.hub.bounds.MetricsEvery, func() {
			defer g.survive()
			l.report(g)
		})
	}
}

// close tells what there is to tell, the last time.
func (l *latencies) close(g *Gateway) {
	l.mu.Lock()
	l.closed = true
	pending := l.timer != nil && l.timer.Stop()
	l.mu.Unlock()
	if pending {
		l.report(g)
		g.hub.running.Done()
	}
}

// report publishes what was noted. What the bus does not take is lost: it tells of a minute that is over.
func (l *latencies) report(g *Gateway) {
	l.mu.Lock()
	connectors := l.connectors
	l.connectors, l.timer = nil, nil
	l.mu.Unlock()
	if len(connectors) == 0 {
		return
	}
	published := func(err error) {
		if err != nil {
			g.hub.metrics.unreported.Inc()
			g.hub.log.Debug("latencies of a gateway could not be published", slog.Any("err", err))
		}
	}
	text, err := json.Marshal(map[string]any{"gatewayMetrics": summaries(connectors)}, json.Deterministic(true))
	if err == nil {
		from := transport.Origin{Transport: Protocol, Topic: telemetryTopic, Session: g.peer.Session, Format: transport.JSON}
		err = g.hub.platform.PublishTelemetry(g.peer.Device, from, text, published)
	}
	if err != nil {
		published(err)
	}
}

// summary is what is told of one connector.
type summary struct {
	AvgGateway   int64 `json:"avgGwLatency"`
	MinGateway   int64 `json:"minGwLatency"`
	MaxGateway   int64 `json:"maxGwLatency"`
	AvgTransport int64 `json:"avgTransportLatency"`
	MinTransport int64 `json:"minTransportLatency"`
	MaxTransport int64 `json:"maxTransportLatency"`
}

func summaries(connectors map[string]*connector) map[string]summary {
	all := make(map[string]summary, len(connectors))
	for name, c := range connectors {
		g, t := c.gateway, c.transport
		all[name] = summary{
			AvgGateway: g.sum / g.count, MinGateway: g.min, MaxGateway: g.max,
			AvgTransport: t.sum / t.count, MinTransport: t.min, MaxTransport: t.max,
		}
	}
	return all
}
