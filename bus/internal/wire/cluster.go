package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// ask opens a connection with connect, makes one request over it and closes it.
func ask[A any](ctx context.Context, connect func(context.Context) (*Conn, error), request protocol.Message) (answer A, err error) {
	c, err := connect(ctx)
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return do[A](ctx, c, request)
}

// do makes one request over c.
func do[A any](ctx context.Context, c *Conn, request protocol.Message) (answer A, err error) {
	message, err := c.Do(ctx, request)
	if err != nil {
		return answer, err
	}
	answer, ok := message.(A)
	if !ok {
		return answer, fmt.Errorf("unexpected answer %T", message)
	}
	return answer, nil
}

// Partitions returns how many partitions each of the cluster's topics has; names limits it to those (a
// topic that does not exist is left out), none means all.
func (d *Dialer) Partitions(ctx context.Context, names ...string) (map[string]int, error) {
	answer, err := d.metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(answer.Topics))
	for _, t := range answer.Topics {
		if t.ErrorCode == 0 && len(t.Partitions) > 0 {
			counts[t.Name] = len(t.Partitions)
		}
	}
	return counts, nil
}

func (d *Dialer) metadata(ctx context.Context, names []string) (*metadata.Response, error) {
	answer, err := ask[*metadata.Response](ctx, d.Any, &metadata.Request{TopicNames: names})
	if err != nil {
		return nil, fmt.Errorf("read the cluster's layout: %w", err)
	}
	return answer, nil
}

// Leader connects to the broker that leads a partition.
func (d *Dialer) Leader(ctx context.Context, topic string, partition int) (*Conn, error) {
	answer, err := d.metadata(ctx, []string{topic})
	if err != nil {
		return nil, err
	}
	for _, t := range answer.Topics {
		if t.Name != topic {
			continue
		}
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("find the leader of %s: %w", topic, kafka.Error(t.ErrorCode))
		}
		for _, p := range t.Partitions {
			if int(p.PartitionIndex) == partition {
				if p.ErrorCode != 0 && kafka.Error(p.ErrorCode) != kafka.ReplicaNotAvailable {
					return nil, fmt.Errorf("find the leader of %s/%d: %w", topic, partition, kafka.Error(p.ErrorCode))
				}
				return d.broker(ctx, answer, p.LeaderID)
			}
		}
	}
	return nil, fmt.Errorf("find the leader of %s/%d: %w", topic, partition, kafka.UnknownTopicOrPartition)
}

// Controller connects to the broker that creates and deletes topics.
func (d *Dialer) Controller(ctx context.Context) (*Conn, error) {
	answer, err := d.metadata(ctx, []string{})
	if err != nil {
		return nil, err
	}
	return d.broker(ctx, answer, answer.ControllerID)
}

func (d *Dialer) broker(ctx context.Context, layout *metadata.Response, id int32) (*Conn, error) {
	for _, b := range layout.Brokers {
		if b.NodeID == id {
			return d.Connect(ctx, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
		}
	}
	return nil, fmt.Errorf("broker %d: %w", id, kafka.LeaderNotAvailable)
}

// Coordinator connects to the broker that keeps a group's offsets.
func (d *Dialer) Coordinator(ctx context.Context, group string) (*Conn, error) {
	answer, err := ask[*findcoordinator.Response](ctx, d.Any, &findcoordinator.Request{Key: group})
	if err != nil {
		return nil, fmt.Errorf("find the coordinator of group %s: %w", group, err)
	}
	if answer.ErrorCode != 0 {
		return nil, fmt.Errorf("find the coordinator of group %s: %w", group, kafka.Error(answer.ErrorCode))
	}
	return d.Connect(ctx, net.JoinHostPort(answer.Host, strconv.Itoa(int(answer.Port))))
}
