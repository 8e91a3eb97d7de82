package websocket

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sessions      prometheus.Gauge
	subscriptions prometheus.Gauge
	commands      prometheus.Counter
	frames        prometheus.Counter
	merged        prometheus.Counter
	limited       prometheus.Counter
	closed        *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		sessions:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "core_websocket_sessions", Help: "Open WebSocket sessions."}),
		subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "core_websocket_subscriptions", Help: "Subscriptions of all sessions."}),
		commands:      counter("core_websocket_commands_total", "Commands taken from clients."),
		frames:        counter("core_websocket_frames_total", "Frames written to clients."),
		merged:        counter("core_websocket_merged_updates_total", "Updates merged into one that waits for a slow client."),
		limited:       counter("core_websocket_limited_updates_total", "Updates dropped because a session had too many a second."),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "core_websocket_closed_total", Help: "Sessions ended by this server, by close code.",
		}, []string{"code"}),
	}
	registry.MustRegister(m.sessions, m.subscriptions, m.commands, m.frames, m.merged, m.limited, m.closed)
	return m
}
