package wire

import (
	"context"
	"fmt"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// The ends of a log, as the protocol spells them.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// noGeneration marks commits of a consumer that is in no group: whoever owns a partition
// commits for it, under a group name that nobody joins.
const noGeneration = -1

// Alone returns the membership of a consumer that commits under a group's name without being a member of it.
func Alone(group string) Membership { return Membership{Group: group, Generation: noGeneration} }

// End returns the offset at one end of a partition's log. c must lead to the partition's leader.
func (c *Conn) End(ctx context.Context, topic string, partition int, which int64) (int64, error) {
	answer, err := do[*listoffsets.Response](ctx, c, &listoffsets.Request{
		ReplicaID: -1,
		Topics: []listoffsets.RequestTopic{{Topic: c.prefix + topic, Partitions: []listoffsets.RequestPartition{{
			Partition: int32(partition), CurrentLeaderEpoch: -1, Timestamp: which,
		}}}},
	})
	if err != nil {
		return 0, fmt.Errorf("list offsets: %w", err)
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("list offsets: an answer for another partition")
	}
	p := answer.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return 0, fmt.Errorf("list offsets: %w", kafka.Error(p.ErrorCode))
	}
	return p.Offset, nil
}

// Commit stores offset and metadata for a partition. c must lead to the group's coordinator.
func (c *Conn) Commit(ctx context.Context, by Membership, topic string, partition int, offset int64, metadata string) error {
	answer, err := do[*offsetcommit.Response](ctx, c, &offsetcommit.Request{
		GroupID: by.Group, GenerationID: by.Generation, MemberID: by.Member, RetentionTimeMs: -1,
		Topics: []offsetcommit.RequestTopic{{Name: c.prefix + topic, Partitions: []offsetcommit.RequestPartition{{
			PartitionIndex: int32(partition), CommittedOffset: offset, CommittedLeaderEpoch: -1, CommittedMetadata: metadata,
		}}}},
	})
	if err != nil {
		return fmt.Errorf("commit offset: %w", err)
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return fmt.Errorf("commit offset: an answer for another partition")
	}
	if code := answer.Topics[0].Partitions[0].ErrorCode; code != 0 {
		return fmt.Errorf("commit offset: %w", kafka.Error(code))
	}
	return nil
}

// Commit is what was stored for a partition.
type Commit struct {
	Offset   int64 // -1: nothing was
	Metadata string
}

// Committed returns what Commit stored last for each of the partitions, in their order. c must lead to the group's coordinator.
func (c *Conn) Committed(ctx context.Context, group, topic string, partitions ...int) ([]Commit, error) {
	indexes := make([]int32, len(partitions))
	commits := make([]Commit, len(partitions))
	for i, p := range partitions {
		indexes[i], commits[i].Offset = int32(p), -1
	}
	answer, err := do[*offsetfetch.Response](ctx, c, &offsetfetch.Request{
		GroupID: group, Topics: []offsetfetch.RequestTopic{{Name: c.prefix + topic, PartitionIndexes: indexes}},
	})
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	switch code := kafka.Error(answer.ErrorCode); code {
	case 0:
	case kafka.GroupIdNotFound: // how the embedded broker says that nobody has committed yet
		return commits, nil
	default:
		return nil, fmt.Errorf("read committed offsets: %w", code)
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != len(partitions) {
		return nil, fmt.Errorf("read committed offsets: an answer for other partitions")
	}
	for _, p := range answer.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			return nil, fmt.Errorf("read committed offsets: %w", kafka.Error(p.ErrorCode))
		}
		i := slices.Index(indexes, p.PartitionIndex)
		if i < 0 {
			return nil, fmt.Errorf("read committed offsets: an answer for other partitions")
		}
		commits[i] = Commit{Offset: p.CommittedOffset, Metadata: p.Metadata}
	}
	return commits, nil
}
