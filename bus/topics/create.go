package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// ErrMismatch says that a topic exists and is not as it should be.
var ErrMismatch = errors.New("topic differs from its settings")

// requestTimeout bounds each request of Create, as making a topic takes a busy cluster seconds; look is how often
// it looks whether topics are there.
const (
	requestTimeout = 30 * time.Second
	look           = 20 * time.Millisecond
)

// Create makes the topics that do not exist yet and checks the partition counts of those that do. It
// may be called at any time and by several processes at once. replication is the number of replicas of new topics.
func Create(ctx context.Context, brokers []string, specs []Spec, replication int) error {
	d := &wire.Dialer{Brokers: brokers, ClientID: "sluice-topics", Timeout: requestTimeout}
	for _, s := range specs {
		if err := create(ctx, d, s, replication); err != nil {
			return err
		}
	}
	return appear(ctx, d, specs)
}

// appear checks the topics once they are there: brokers learn of a new topic one after the other.
func appear(ctx context.Context, d *wire.Dialer, specs []Spec) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		err := check(ctx, d, specs)
		if !errors.Is(err, kafka.UnknownTopicOrPartition) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

func create(ctx context.Context, d *wire.Dialer, s Spec, replication int) error {
	topic := wire.Topic{Name: s.Name, Partitions: s.Partitions, Replication: replication, Retention: s.Retention, RetentionBytes: s.RetentionBytes, MaxBytes: s.MaxBytes}
	if topic.Clean = true; replication >= 3 {
		topic.MinInSync = 2
	}
	if err := d.Create(ctx, topic); err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return err
	}
	return nil
}

// Check returns an error unless every topic of specs exists with its partition count, so that a key's partition
// number is the same in each of the owned ones, and takes messages as large as it should.
func Check(ctx context.Context, brokers []string, specs []Spec) error {
	return check(ctx, &wire.Dialer{Brokers: brokers, ClientID: "sluice-topics", Timeout: requestTimeout}, specs)
}

func check(ctx context.Context, d *wire.Dialer, specs []Spec) error {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	counts, err := d.Partitions(ctx, names...)
	if err != nil {
		return err
	}
	for _, s := range specs {
		if counts[s.Name] == 0 {
			return fmt.Errorf("%w: %s: %w", ErrMismatch, s.Name, kafka.UnknownTopicOrPartition)
		}
		if counts[s.Name] != s.Partitions && !s.AnyCount {
			return fmt.Errorf("%w: %s has %d partitions, not %d; a topic's count is fixed once it has messages", ErrMismatch, s.Name, counts[s.Name], s.Partitions)
		}
	}
	limits, err := d.Settings(ctx, wire.BatchLimit, names...)
	if err != nil {
		return err
	}
	for _, s := range specs {
		if limits[s.Name] < int64(s.MaxBytes) {
			return fmt.Errorf("%w: %s takes %d bytes, not %d", ErrMismatch, s.Name, limits[s.Name], s.MaxBytes)
		}
	}
	return nil
}
