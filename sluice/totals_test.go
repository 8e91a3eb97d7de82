package main

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/sluice/internal/board"
)

func TestTotals(t *testing.T) {
	registry := prometheus.NewRegistry()
	uplinks := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "transport_uplinks_total"}, []string{"transport", "result"})
	fates := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "core_node_messages_total"}, []string{"fate"})
	stored := prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_messages_stored_total"})
	registry.MustRegister(uplinks, fates, stored)
	uplinks.WithLabelValues("MQTT", "acknowledged").Add(5)
	uplinks.WithLabelValues("COAP", "acknowledged").Add(3)
	uplinks.WithLabelValues("COAP", "invalid").Add(100)
	fates.WithLabelValues("processed").Add(9)
	fates.WithLabelValues("dead-lettered").Add(1)
	stored.Add(7)
	got, err := totals(registry)()
	if want := (board.Totals{Acknowledged: 8, Stored: 7, DeadLettered: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
