package main

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-iot/sluice/sluice/internal/board"
)

// totals reads from the process's metrics what became of all devices' messages.
func totals(from prometheus.Gatherer) func() (board.Totals, error) {
	return func() (board.Totals, error) {
		families, err := from.Gather()
		if err != nil {
			return board.Totals{}, fmt.Errorf("gather metrics: %w", err)
		}
		var t board.Totals
		for _, family := range families {
			switch family.GetName() {
			case "transport_uplinks_total":
				t.Acknowledged = sum(family, "result", "acknowledged")
			case "core_node_messages_stored_total":
				t.Stored = sum(family, "", "")
			case "core_node_messages_total":
				t.DeadLettered = sum(family, "fate", "dead-lettered")
			}
		}
		return t, nil
	}
}

// sum adds up the counters of family whose label has value; all of them if label is "".
func sum(family *dto.MetricFamily, label, value string) int64 {
	total := 0.0
	for _, metric := range family.GetMetric() {
		if label == "" || slices.ContainsFunc(metric.GetLabel(), func(pair *dto.LabelPair) bool {
			return pair.GetName() == label && pair.GetValue() == value
		}) {
			total += metric.GetCounter().GetValue()
		}
	}
	return int64(total)
}
