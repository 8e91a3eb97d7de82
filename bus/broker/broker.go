// Package broker is the embedded broker: Kafka's protocol on loopback, kept in a folder, so that one process needs
// nothing else installed. What devices can make it keep is bounded: see backlog and janitor.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Config is what operators set.
type Config struct {
	Listen          string        `name:"broker-listen" default:"127.0.0.1:0" help:"Loopback address of the embedded broker; port 0 picks one."`
	BacklogBytes    int64         `name:"broker-backlog-bytes" default:"536870912" help:"Bytes of messages not yet handled that the embedded broker holds; beyond it devices' messages are refused as unavailable."`
	TailBytes       int64         `name:"broker-tail-bytes" default:"16777216" help:"Bytes the embedded broker keeps of each topic that is read as it is written: answers, events."`
	DeadLetterBytes int64         `name:"broker-dead-letter-bytes" default:"268435456" help:"Bytes of dead letters the embedded broker keeps; beyond it the oldest are deleted."`
	SegmentBytes    int64         `name:"broker-segment-bytes" default:"8388608" help:"Bytes of one of the embedded broker's files; a file is deleted once all in it is."`
	CleanInterval   time.Duration `name:"broker-clean-interval" default:"1s" help:"How often the embedded broker deletes what has been handled, while there is traffic."`
}

// DefaultConfig returns the settings of an operator who sets none: the tags' defaults, written out for
// code that has no flags. tests/architecture holds the two together.
func DefaultConfig() Config {
	return Config{
		Listen:          "127.0.0.1:0",
		BacklogBytes:    512 << 20,
		TailBytes:       16 << 20,
		DeadLetterBytes: 256 << 20,
		SegmentBytes:    8 << 20,
		CleanInterval:   time.Second,
	}
}

// Options are what code sets.
type Options struct {
	// Dir is the folder the messages are kept in, each batch synced before it is acknowledged. Empty keeps them in memory.
	Dir string
	// Group is the consumer group under which owned partitions are committed: bus.Config.Group.
	Group string
	// Room says why the disk has no room for what owners have yet to handle; nil when it has. Every write asks it, so it
	// must be quick. It may be nil itself.
	Room func() error
	// Log and Metrics may be nil.
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	backlog *backlog
	stop    context.CancelFunc
	janitor sync.WaitGroup
	closed  sync.Once
}

// Start opens the folder and listens. The caller must call Run or Close.
func Start(config Config, options Options) (*Broker, error) {
	listen, err := listener(config.Listen)
	if err != nil {
		return nil, err
	}
	settings := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(listen),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes":   strconv.FormatInt(config.SegmentBytes, 10),
			"log.retention.bytes": strconv.FormatInt(config.TailBytes, 10), // owned topics and dead letters state their own
		}),
	}
	if options.Dir != "" {
		settings = append(settings, kfake.DataDir(options.Dir), kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(settings...)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	b := &Broker{cluster: cluster, addr: cluster.ListenAddrs()[0], backlog: newBacklog(config.BacklogBytes, options.Room, options.Metrics)}
	b.backlog.guard(cluster)
	j := newJanitor(b, config, options)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.janitor.Go(func() { j.run(ctx) })
	return b, nil
}

// listener returns how the cluster listens: at one loopback address.
func listener(address string) (func(network, _ string) (net.Listener, error), error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("embedded broker's address: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("embedded broker's address %s: %w", address, errNotLoopback)
	}
	return func(network, _ string) (net.Listener, error) { return net.Listen(network, address) }, nil
}

var errNotLoopback = errors.New("not a loopback address: the broker has no access control of its own")

// Addr returns the address clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Backlog returns how many bytes of owned topics wait to be handled, and the bound beyond which
// more is refused.
func (b *Broker) Backlog() (bytes, bound int64) { return b.backlog.bytes(), b.backlog.bound }

// Run blocks until ctx ends, then closes the broker. It must outlive the bus's clients.
func (b *Broker) Run(ctx context.Context) error {
	<-ctx.Done()
	return b.Close()
}

// Close writes what makes the next start quick and releases the folder. Without it nothing acknowledged
// is lost.
func (b *Broker) Close() error {
	b.closed.Do(func() {
		b.stop()
		b.janitor.Wait()
		b.cluster.Close()
	})
	return nil
}
