package wire

import (
	"context"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// Ends returns the offset at one end of every partition of the named topics. One that does not exist is left out.
func (d *Dialer) Ends(ctx context.Context, which int64, names ...string) (map[string][]int64, error) {
	if len(names) == 0 {
		return nil, nil
	}
	layout, err := d.metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	ends := make(map[string][]int64, len(names))
	questions := map[int32]*listoffsets.Request{} // by broker
	for _, t := range layout.Topics {
		if kafka.Error(t.ErrorCode) == kafka.UnknownTopicOrPartition {
			continue
		}
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("find the ends of %s: %w", t.Name, kafka.Error(t.ErrorCode))
		}
		ends[t.Name] = make([]int64, len(t.Partitions))
		for _, p := range t.Partitions {
			question := questions[p.LeaderID]
			if question == nil {
				question = &listoffsets.Request{ReplicaID: -1}
				questions[p.LeaderID] = question
			}
			last := len(question.Topics) - 1
			if last < 0 || question.Topics[last].Topic != d.Prefix+t.Name {
				question.Topics = append(question.Topics, listoffsets.RequestTopic{Topic: d.Prefix + t.Name})
				last++
			}
			question.Topics[last].Partitions = append(question.Topics[last].Partitions,
				listoffsets.RequestPartition{Partition: p.PartitionIndex, CurrentLeaderEpoch: -1, Timestamp: which})
		}
	}
	for broker, question := range questions {
		connect := func(ctx context.Context) (*Conn, error) { return d.broker(ctx, layout, broker) }
		answer, err := ask[*listoffsets.Response](ctx, connect, question)
		if err != nil {
			return nil, fmt.Errorf("list offsets: %w", err)
		}
		if err := d.enter(ends, answer); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// enter writes a broker's answer into ends.
func (d *Dialer) enter(ends map[string][]int64, answer *listoffsets.Response) error {
	for _, t := range answer.Topics {
		name := strings.TrimPrefix(t.Topic, d.Prefix)
		for _, p := range t.Partitions {
			switch code := kafka.Error(p.ErrorCode); {
			case code == kafka.UnknownTopicOrPartition:
				delete(ends, name) // deleted a moment ago
			case code != 0:
				return fmt.Errorf("list offsets of %s/%d: %w", name, p.Partition, code)
			case int(p.Partition) < len(ends[name]):
				ends[name][p.Partition] = p.Offset
			}
		}
	}
	return nil
}
