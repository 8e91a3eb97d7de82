package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
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
// topic that does not exist is left out), none means all. A topic without the prefix is not one of them.
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
