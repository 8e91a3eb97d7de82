package wire

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/deletetopics"
)

// Topic is how a topic is made.
type Topic struct {
	Name        string
	Partitions  int
	Replication int
	Retention   time.Duration
	MaxBytes    int // of one message; 0 leaves the broker's default
	MinInSync   int // replicas that must have a message before it is acknowledged; 0 leaves the broker's default
}

// Create makes topics. It returns kafka.TopicAlreadyExists, wrapped, when one exists; the others are made.
func (d *Dialer) Create(ctx context.Context, topics ...Topic) error {
	request := &createtopics.Request{TimeoutMs: int32(d.Timeout / time.Millisecond)}
	for _, t := range topics {
		request.Topics = append(request.Topics, createtopics.RequestTopic{
			Name: t.Name, NumPartitions: int32(t.Partitions), ReplicationFactor: int16(t.Replication), Configs: t.configs(),
		})
	}
	answer, err := ask[*createtopics.Response](ctx, d.Controller, request)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range answer.Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("create topic %s: %w %s", t.Name, kafka.Error(t.ErrorCode), t.ErrorMessage)
		}
	}
	return nil
}

func (t Topic) configs() []createtopics.RequestConfig {
	configs := []createtopics.RequestConfig{
		{Name: "retention.ms", Value: strconv.FormatInt(t.Retention.Milliseconds(), 10)},
		{Name: "retention.bytes", Value: "-1"},
	}
	if t.MaxBytes > 0 {
		configs = append(configs, createtopics.RequestConfig{Name: "max.message.bytes", Value: strconv.Itoa(t.MaxBytes)})
	}
	if t.MinInSync > 0 {
		configs = append(configs, createtopics.RequestConfig{Name: "min.insync.replicas", Value: strconv.Itoa(t.MinInSync)})
	}
	return configs
}

// Delete removes topics; one that is not there is no error.
func (d *Dialer) Delete(ctx context.Context, names ...string) error {
	answer, err := ask[*deletetopics.Response](ctx, d.Controller, &deletetopics.Request{
		TopicNames: names, TimeoutMs: int32(d.Timeout / time.Millisecond),
	})
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	harmless := []kafka.Error{0, kafka.UnknownTopicOrPartition}
	for _, t := range answer.Responses {
		if code := kafka.Error(t.ErrorCode); !slices.Contains(harmless, code) {
			return fmt.Errorf("delete topic %s: %w", t.Name, code)
		}
	}
	return nil
}
