package part

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const kafkaVersion = "4.1.1"

// KafkaOptions is what tests choose about Kafka.
type KafkaOptions struct {
	Brokers    int    // 1 (the zero value's) or 3, each broker and controller; with 3: replication 3, min in-sync replicas 2
	AutoCreate bool   // auto.create.topics.enable; off, as in production
	Heap       string // of each broker, "512m" when empty
}

// Kafka is a cluster in KRaft mode. As everywhere, a broker acknowledges before the disk has the record (log.flush
// settings stay at their defaults): killing its process loses nothing, since the kernel holds what was written.
type Kafka struct {
	Brokers   []*Process
	addresses []string
	classPath string
}

// Libraries is the folder of Kafka's jars, for tests that start brokers of their own.
func (k *Kafka) Libraries() string { return filepath.Dir(k.classPath) }

// NewKafka installs Kafka where that is needed and prepares it in dir.
func NewKafka(ctx context.Context, dir string, o KafkaOptions) (*Kafka, error) {
	o.Brokers = max(1, o.Brokers)
	if o.Heap == "" {
		o.Heap = "512m"
	}
	classPath, installed, err := jars(ctx, "kafka", kafkaVersion, kafkaPOM, func(dir, classPath string) error {
		return formatOnce(ctx, dir, classPath)
	})
	if err != nil {
		return nil, err
	}
	features, err := os.ReadFile(filepath.Join(installed, bootstrap))
	if err != nil {
		return nil, fmt.Errorf("prepare Kafka: %w", err)
	}
	addresses, err := freeAddresses(2 * o.Brokers)
	if err != nil {
		return nil, err
	}
	k := &Kafka{addresses: addresses[:o.Brokers], classPath: classPath}
	controllers := addresses[o.Brokers:]
	for i := range o.Brokers {
		broker := filepath.Join(dir, fmt.Sprintf("kafka-%d", i+1))
		err := folder(broker, map[string]string{
			"server.properties":    kafkaConfig(i, o, broker, k.addresses, controllers),
			"log4j2.properties":    kafkaLog,
			"data/meta.properties": fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\n", clusterID, i+1),
			"data/" + bootstrap:    string(features),
		})
		if err != nil {
			return nil, fmt.Errorf("prepare Kafka: %w", err)
		}
		k.Brokers = append(k.Brokers, NewProcess(Command{
			Name: filepath.Base(broker), Program: "java", Dir: broker,
			Args: []string{
				"-Xmx" + o.Heap, "-Xms256m", "-XX:+UseSerialGC", "-XX:-UsePerfData",
				"-Dlog4j2.configurationFile=" + filepath.Join(broker, "log4j2.properties"),
				"-cp", classPath, "kafka.Kafka", "server.properties",
			},
			Ready: kafkaReady(k.addresses[i], o.Brokers),
		}))
	}
	return k, nil
}

const (
	clusterID = "c2x1aWNlLXBhcnRzLTAwMQ"
	bootstrap = "bootstrap.checkpoint"
)

// formatOnce has Kafka's tool format a data folder and keeps what is the same in each, the features a new cluster
// has: formatting takes longer than all else that is done before a start.
func formatOnce(ctx context.Context, dir, classPath string) (err error) {
	scratch, err := os.MkdirTemp("", "sluice-kafka-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	config := kafkaConfig(0, KafkaOptions{Brokers: 1}, scratch, []string{"127.0.0.1:9092"}, []string{"127.0.0.1:9093"})
	if err := folder(scratch, map[string]string{"server.properties": config}); err != nil {
		return err
	}
	err = run(ctx, "java", "-XX:TieredStopAtLevel=1", "-cp", classPath, "kafka.tools.StorageTool", "format",
		"-t", clusterID, "-c", filepath.Join(scratch, "server.properties"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(scratch, "data", bootstrap))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, bootstrap), text, 0o644)
}

const kafkaLog = `status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
`

func kafkaConfig(i int, o KafkaOptions, dir string, brokers, controllers []string) string {
	var voters []string
	for n, address := range controllers {
		voters = append(voters, fmt.Sprintf("%d@%s", n+1, address))
	}
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://%s,CONTROLLER://%s
advertised.listeners=PLAINTEXT://%s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%s
auto.create.topics.enable=%t
default.replication.factor=%d
min.insync.replicas=%d
offsets.topic.replication.factor=%[8]d
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=%[8]d
transaction.state.log.min.isr=%[9]d
share.coordinator.state.topic.replication.factor=%[8]d
share.coordinator.state.topic.min.isr=%[9]d
group.initial.rebalance.delay.ms=0
# a dead broker is noticed after 4 s instead of 9
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
# fits into a small heap
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
`, i+1, strings.Join(voters, ","), brokers[i], controllers[i], brokers[i], filepath.Join(dir, "data"),
		o.AutoCreate, o.Brokers, max(1, o.Brokers-1))
}

// kafkaReady: the broker knows a controller and that all the brokers are there.
func kafkaReady(address string, brokers int) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		transport := &kafka.Transport{DialTimeout: time.Second}
		defer transport.CloseIdleConnections()
		client := kafka.Client{Addr: kafka.TCP(address), Transport: transport}
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return err
		}
		if answer.Controller.Host == "" || len(answer.Brokers) < brokers {
			return fmt.Errorf("%d of %d brokers, controller %q", len(answer.Brokers), brokers, answer.Controller.Host)
		}
		return nil
	}
}

// Name is "kafka".
func (k *Kafka) Name() string { return "kafka" }

// Address is "host:port" of every broker, with commas between.
func (k *Kafka) Address() string { return strings.Join(k.addresses, ",") }

// First is the first broker's address, for clients that take one.
func (k *Kafka) First() string { return k.addresses[0] }

// Start starts all brokers side by side and waits until they know each other.
func (k *Kafka) Start(ctx context.Context) error {
	return all(k.Brokers, func(p *Process) error { return p.Start(ctx) })
}

// Stop stops all brokers side by side.
func (k *Kafka) Stop() error {
	if len(k.Brokers) > 1 { // without a majority the last controllers would wait for one: nobody needs their orderly end
		for _, p := range k.Brokers {
			p.Kill()
		}
		return nil
	}
	return all(k.Brokers, (*Process).Stop)
}

// Processes are the brokers.
func (k *Kafka) Processes() []*Process { return k.Brokers }

// all does act with every process side by side.
func all(processes []*Process, act func(*Process) error) error {
	errs := make([]error, len(processes))
	var running sync.WaitGroup
	for i, p := range processes {
		running.Go(func() { errs[i] = act(p) })
	}
	running.Wait()
	return errors.Join(errs...)
}
