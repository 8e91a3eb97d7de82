package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus/topics"
)

// Config is what operators set.
type Config struct {
	Brokers []string `name:"bus-brokers" default:"127.0.0.1:9092" help:"Brokers to start from, host:port; the others are learned from them."`

	TopicPrefix string `name:"bus-topic-prefix" help:"Begins the name of every topic on the brokers, so that several fleets can share them."`

	QueueMessages   int           `name:"bus-queue-messages" default:"131072" help:"Messages that may wait for the broker, per topic; its partitions share them evenly. Beyond it publishing is refused."`
	QueueBytes      int           `name:"bus-queue-bytes" default:"67108864" help:"Bytes that may wait for the broker, per topic; its partitions share them evenly. Beyond it publishing is refused."`
	BatchBytes      int           `name:"bus-batch-bytes" default:"524288" help:"Bytes sent to a partition in one request, at most, unless one message is larger."`
	MessageBytes    int           `name:"bus-message-bytes" default:"1000000" help:"Largest message; topics that take larger ones have their own limit."`
	PublishDeadline time.Duration `name:"bus-publish-deadline" default:"10s" help:"After this long without acknowledgement a message counts as refused."`
	RequestTimeout  time.Duration `name:"bus-request-timeout" default:"3s" help:"How long one request to a broker may take."`
	Attempts        int           `name:"bus-attempts" default:"3" help:"How often a batch is put on the wire without a clear answer before it counts as refused. What a broker did not take, as it does not lead or lacks replicas, is tried until the deadline."`
	ConnectTimeout  time.Duration `name:"bus-connect-timeout" default:"30s" help:"How long a start waits for the brokers."`
	DrainTimeout    time.Duration `name:"bus-drain-timeout" default:"5s" help:"How long a stop waits for acknowledgements."`

	PendingCalls   int           `name:"bus-pending-calls" default:"65536" help:"Calls that may wait for their answer; beyond it calls are refused."`
	ReplyRetention time.Duration `name:"bus-reply-retention" default:"10m" help:"How long this process's own reply topic keeps messages."`
	ReplyAbandoned time.Duration `name:"bus-reply-abandoned" default:"1h" help:"Reply topics that nobody reads are deleted after this long. The same for the whole fleet."`
	Replication    int           `name:"bus-replication" default:"1" help:"Replicas of the topics this process creates."`

	Group         string        `name:"bus-group" default:"sluice" help:"Consumer group under which the offsets of owned partitions are kept."`
	CommitRenewal time.Duration `name:"bus-commit-renewal" default:"24h" help:"How often the offset of an owned partition is committed again while nothing new is: brokers forget offsets after a while (offsets.retention.minutes)."`
	FetchBytes    int           `name:"bus-fetch-bytes" default:"1048576" help:"Bytes read from a partition at once."`
	FetchWait     time.Duration `name:"bus-fetch-wait" default:"10s" help:"How long a broker holds a read while there is nothing new."`
}

// DefaultConfig returns the settings of an operator who sets none: the tags' defaults, written out for
// code that has no flags. tests/architecture holds the two together.
func DefaultConfig() Config {
	return Config{
		Brokers: []string{"127.0.0.1:9092"},

		QueueMessages:   131072,
		QueueBytes:      64 << 20,
		BatchBytes:      512 << 10,
		MessageBytes:    1_000_000,
		PublishDeadline: 10 * time.Second,
		RequestTimeout:  3 * time.Second,
		Attempts:        3,
		ConnectTimeout:  30 * time.Second,
		DrainTimeout:    5 * time.Second,

		PendingCalls:   65536,
		ReplyRetention: 10 * time.Minute,
		ReplyAbandoned: time.Hour,
		Replication:    1,

		Group:         "sluice",
		CommitRenewal: 24 * time.Hour,
		FetchBytes:    1 << 20,
		FetchWait:     10 * time.Second,
	}
}

// Validate returns an error that names the first setting that cannot work.
func (c *Config) Validate() error {
	for _, s := range []struct {
		name       string
		value, min int64
	}{
		{"queue-messages", int64(c.QueueMessages), 1},
		{"queue-bytes", int64(c.QueueBytes), 1},
		{"batch-bytes", int64(c.BatchBytes), 1},
		{"message-bytes", int64(c.MessageBytes), 1},
		{"publish-deadline", int64(c.PublishDeadline), int64(time.Millisecond)},
		{"request-timeout", int64(c.RequestTimeout), int64(time.Millisecond)},
		{"attempts", int64(c.Attempts), 1},
		{"connect-timeout", int64(c.ConnectTimeout), 1},
		{"drain-timeout", int64(c.DrainTimeout), 1},
		{"pending-calls", int64(c.PendingCalls), 1},
		{"reply-retention", int64(c.ReplyRetention), int64(time.Millisecond)},
		{"reply-abandoned", int64(c.ReplyAbandoned), int64(time.Millisecond)},
		{"replication", int64(c.Replication), 1},
		{"commit-renewal", int64(c.CommitRenewal), int64(time.Millisecond)},
		{"fetch-bytes", int64(c.FetchBytes), 1},
		{"fetch-wait", int64(c.FetchWait), int64(time.Millisecond)},
	} {
		if s.value < s.min {
			return fmt.Errorf("bus-%s: %d is too little", s.name, s.value)
		}
	}
	if largest := topics.UplinkBytes; c.BatchBytes > largest || c.MessageBytes > largest {
		return fmt.Errorf("bus-batch-bytes and bus-message-bytes: more than the %d bytes the topics take", largest)
	}
	if !prefix.MatchString(c.TopicPrefix) {
		return fmt.Errorf("bus-topic-prefix: %q is not made of at most 100 letters, digits, dots, dashes and underscores", c.TopicPrefix)
	}
	return nil
}

// prefix is what may begin a topic's name; names end at 249 characters.
var prefix = regexp.MustCompile(`^[a-zA-Z0-9._-]{0,100}$`)

// Options are what code sets.
type Options struct {
	// Node names this process among its like; it ends the name of its reply topic.
	Node string
	// ReplyPrefix begins it: topics.TransportResponses or topics.CoreResponses. Empty: this
	// process has no reply topic and can make no calls.
	ReplyPrefix string
	// Log may be nil.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// Dial opens connections in place of net.Dialer; nil means that.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o Options) log() *slog.Logger {
	if o.Log != nil {
		return o.Log
	}
	return slog.New(slog.DiscardHandler)
}
