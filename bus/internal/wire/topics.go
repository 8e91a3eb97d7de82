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
	// Retention is how long messages are kept, negative for ever.
	Retention time.Duration
	// The following leave the broker's default when they are 0.
	RetentionBytes int64 // of a partition; -1 is all
	MaxBytes       int   // of one batch
	MinInSync      int   // replicas that must have a message before it is acknowledged
	// Clean keeps a replica that lacks acknowledged messages from becoming the leader.
	Clean bool
}

// Create makes topics. It returns kafka.TopicAlreadyExists, wrapped, when one exists; the others are made.
func (d *Dialer) Create(ctx context.Context, topics ...Topic) error {
	request := &createtopics.Request{TimeoutMs: int32(d.Timeout / time.Millisecond)}
	for _, t := range topics {
		request.Topics = append(request.Topics, createtopics.RequestTopic{
			Name: d.Prefix + t.Name, NumPartitions: int32(t.Partitions), ReplicationFactor: int16(t.Replication), Configs: t.configs(),
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
	var configs []createtopics.RequestConfig
	set := func(name string, value int64) {
		if value != 0 {
			configs = append(configs, createtopics.RequestConfig{Name: name, Value: strconv.FormatInt(value, 10)})
		}
	}
	retention := t.Retention.Milliseconds()
	if t.Retention < 0 {
		retention = -1
	}
	set("retention.ms", retention)
	set("retention.bytes", t.RetentionBytes)
	set("max.message.bytes", int64(t.MaxBytes))
	set("min.insync.replicas", int64(t.MinInSync))
	if t.Clean {
		configs = append(configs, createtopics.RequestConfig{Name: "unclean.leader.election.enable", Value: "false"})
	}
	return configs
}

// Delete removes topics; one that is not there is no error.
func (d *Dialer) Delete(ctx context.Context, names ...string) error {
	prefixed := make([]string, len(names))
	for i := range names {
		prefixed[i] = d.Prefix + names[i]
	}
	answer, err := ask[*deletetopics.Response](ctx, d.Controller, &deletetopics.Request{
		TopicNames: prefixed, TimeoutMs: int32(d.Timeout / time.Millisecond),
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
