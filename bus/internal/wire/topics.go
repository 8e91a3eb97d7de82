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
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
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

// resourceTopic is the protocol's number for a topic's settings.
const resourceTopic = 2

// BatchLimits returns the largest batch each of the topics takes, in bytes.
func (d *Dialer) BatchLimits(ctx context.Context, names ...string) (map[string]int, error) {
	const setting = "max.message.bytes"
	request := &describeconfigs.Request{}
	for _, name := range names {
		request.Resources = append(request.Resources, describeconfigs.RequestResource{
			ResourceType: resourceTopic, ResourceName: name, ConfigNames: []string{setting},
		})
	}
	answer, err := ask[*describeconfigs.Response](ctx, d.Controller, request)
	if err != nil {
		return nil, fmt.Errorf("read topics' settings: %w", err)
	}
	limits := make(map[string]int, len(names))
	for _, r := range answer.Resources {
		if r.ErrorCode != 0 {
			return nil, fmt.Errorf("read settings of topic %s: %w", r.ResourceName, kafka.Error(r.ErrorCode))
		}
		for _, entry := range r.ConfigEntries {
			if entry.ConfigName != setting {
				continue
			}
			if limits[r.ResourceName], err = strconv.Atoi(entry.ConfigValue); err != nil {
				return nil, fmt.Errorf("read settings of topic %s: %w", r.ResourceName, err)
			}
		}
	}
	return limits, nil
}
