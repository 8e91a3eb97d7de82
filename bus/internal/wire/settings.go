package wire

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
)

// resourceTopic is the protocol's number for a topic's settings.
const resourceTopic = 2

// Settings of topics whose values are numbers.
const (
	BatchLimit  = "max.message.bytes" // the largest batch, in bytes
	RetentionMS = "retention.ms"      // how long messages are kept; -1 is for ever
)

// Settings returns one setting of each of the topics.
func (d *Dialer) Settings(ctx context.Context, setting string, names ...string) (map[string]int64, error) {
	request := &describeconfigs.Request{}
	for _, name := range names {
		request.Resources = append(request.Resources, describeconfigs.RequestResource{
			ResourceType: resourceTopic, ResourceName: d.Prefix + name, ConfigNames: []string{setting},
		})
	}
	answer, err := ask[*describeconfigs.Response](ctx, d.Controller, request)
	if err != nil {
		return nil, fmt.Errorf("read topics' settings: %w", err)
	}
	values := make(map[string]int64, len(names))
	for _, r := range answer.Resources {
		if r.ErrorCode != 0 {
			return nil, fmt.Errorf("read settings of topic %s: %w", r.ResourceName, kafka.Error(r.ErrorCode))
		}
		for _, entry := range r.ConfigEntries {
			if entry.ConfigName != setting {
				continue
			}
			value, err := strconv.ParseInt(entry.ConfigValue, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read settings of topic %s: %w", r.ResourceName, err)
			}
			values[strings.TrimPrefix(r.ResourceName, d.Prefix)] = value
		}
	}
	return values, nil
}
