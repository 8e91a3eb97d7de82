// Package broker is the embedded broker: Kafka's protocol on loopback, kept in a folder, so that one process needs
// nothing else installed. What is on disk and in memory is bounded by a janitor.
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
	BacklogBytes    int64         `name:"broker-backlog-bytes" default:"536870912" help:"Bytes of messages not yet handled; beyond it messages of devices are refused as unavailable."`
	DeadLetterBytes int64         `name:"broker-dead-letter-bytes" default:"268435456" help:"Bytes of dead letters kept; beyond it the oldest are deleted."`
	ReplyBytes      int64         `name:"broker-reply-bytes" default:"16777216" help:"Bytes kept of each topic that is read as it is written: answers, events."`
	SegmentBytes    int64         `name:"broker-segment-bytes" default:"8388608" help:"Bytes of one log file; files are deleted whole."`
	CleanInterval   time.Duration `name:"broker-clean-interval" default:"1s" help:"How often handled messages are deleted while there is traffic."`
}

// Options are what code sets.
type Options struct {
	// Dir is the folder the messages are kept in. Empty keeps them in memory.
	Dir string
	// Group is the consumer group under which owned partitions are committed: bus.Config's.
	Group string
	// Log and Metrics may be nil.
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Broker is a running embedded broker.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	closed  sync.Once
}

// Start opens the folder and listens.
func Start(config Config, options Options) (*Broker, error) {
	listen, err := listener(config.Listen)
	if err != nil {
		return nil, err
	}
	settings := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(listen),
		kfake.BrokerConfigs(map[string]string{"log.segment.bytes": strconv.FormatInt(config.SegmentBytes, 10)}),
	}
	if options.Dir != "" {
		settings = append(settings, kfake.DataDir(options.Dir), kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(settings...)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	b := &Broker{cluster: cluster, addr: cluster.ListenAddrs()[0]}
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

// Run blocks until ctx ends, then closes the broker. It must outlive the bus's clients.
func (b *Broker) Run(ctx context.Context) error {
	<-ctx.Done()
	return b.Close()
}

// Close stores what is needed for a quick start and releases the folder.
func (b *Broker) Close() error {
	b.closed.Do(b.cluster.Close)
	return nil
}
