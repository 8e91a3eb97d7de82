package topics

import (
	"context"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// CheckOwned returns the partition count that all owned topics of the cluster have, those of further queues included.
// It fails with ErrMismatch when one of the standard ones is missing or counts differ: a node must not start then, as what
// carries one entity's id would meet on different nodes. It also fails when there is the topic of a queue that is neither
// standard nor among queues: nobody would read what lies there. prefix begins the topics' names.
func CheckOwned(ctx context.Context, brokers []string, prefix string, queues []string) (partitions int, err error) {
	d := &wire.Dialer{Brokers: brokers, ClientID: "sluice-topics", Timeout: requestTimeout, Prefix: prefix}
	counts, err := d.Partitions(ctx)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, s := range append(Standard(1), Queues(1, queues)...) {
		if s.Owned {
			names = append(names, s.Name)
		}
	}
	first := names[0]
	for name := range counts {
		if Owned(name) && !slices.Contains(names, name) {
			return 0, fmt.Errorf("%w: nobody reads %s%s: name its queue in the file of queues again, or delete the topic once nothing waits in it",
				ErrMismatch, prefix, name)
		}
	}
	for _, name := range names {
		if counts[name] == 0 {
			return 0, fmt.Errorf("%w: %s%s: %w", ErrMismatch, prefix, name, kafka.UnknownTopicOrPartition)
		}
		if counts[name] != counts[first] {
			return 0, fmt.Errorf("%w: %s%s has %d partitions and %s%s has %d: all topics that core nodes own must have the same count",
				ErrMismatch, prefix, first, counts[first], prefix, name, counts[name])
		}
	}
	return counts[first], nil
}
