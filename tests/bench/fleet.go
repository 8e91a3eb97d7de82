package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// session is the time-out T that core nodes ask of ZooKeeper, whose tick of 200 ms grants it.
const session = 2 * time.Second

// parts are the real servers that all measurements of a fleet use, one after the other.
type parts struct {
	kafka                       *part.Kafka
	zookeeper, cassandra, redis *part.Single
	binary                      string
	installations               int

	// devices is how many of package load's are in the keyspace; jwt and demoDevice are its tenant administrator's and demoToken's,
	// once asked for.
	devices         int
	jwt, demoDevice string
	answering       []string // ids of those that answer requests
	probes          *probes
}

func startParts(ctx context.Context, dir, binary string) (*parts, error) {
	part.EndWithParent()
	p := &parts{binary: binary}
	var err error
	if p.kafka, err = part.NewKafka(ctx, dir, part.KafkaOptions{}); err == nil {
		p.zookeeper, err = part.NewZooKeeper(ctx, dir)
	}
	if err == nil {
		p.cassandra, err = part.NewCassandra(ctx, dir, "")
	}
	if err == nil {
		p.redis, err = part.NewRedis(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	all := []part.Part{p.kafka, p.zookeeper, p.cassandra, p.redis}
	if err := part.Together(all, func(one part.Part) error { return one.Start(ctx) }); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// stop ends the servers: nobody needs their orderly end.
func (p *parts) stop() {
	for _, one := range []part.Part{p.kafka, p.zookeeper, p.cassandra, p.redis} {
		for _, process := range one.Processes() {
			process.Kill()
		}
	}
}

// keyspace is shared by all measurements; devices once added are there for the next.
const keyspace = "sluice_bench"

// installation is topics and a place in ZooKeeper of one measurement's own.
type installation struct {
	parts   *parts
	prefix  string
	environ []string
}

// install runs `sluice install`, with the demo's people, and forgets what Redis knows of earlier installations.
func (p *parts) install(ctx context.Context) (*installation, error) {
	p.installations++
	i := &installation{parts: p, prefix: fmt.Sprintf("bench%d.", p.installations)}
	i.environ = []string{
		"SLUICE_BUS_BROKERS=" + p.kafka.Address(), "SLUICE_BUS_TOPIC_PREFIX=" + i.prefix,
		"SLUICE_ZOOKEEPER=" + p.zookeeper.Address(), fmt.Sprintf("SLUICE_ZOOKEEPER_ROOT=/bench%d", p.installations),
		"SLUICE_ZOOKEEPER_SESSION=" + session.String(), "SLUICE_STORE=cassandra", "SLUICE_CASSANDRA_HOSTS=" + p.cassandra.Address(),
		"SLUICE_CASSANDRA_KEYSPACE=" + keyspace, "SLUICE_REDIS=redis://" + p.redis.Address(), "SLUICE_LOG_LEVEL=warn",
	}
	cmd := exec.CommandContext(ctx, p.binary, "install", "--core-demo")
	cmd.Env = append(os.Environ(), i.environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sluice install: %w\n%s", err, out)
	}
	return i, p.flushRedis()
}

func (p *parts) flushRedis() error {
	conn, err := net.Dial("tcp", p.redis.Address())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := conn.Read(answer); err != nil || string(answer) != "+OK\r\n" {
		return fmt.Errorf("redis answered %q to FLUSHALL: %w", answer, err)
	}
	return nil
}

// tell tells a role of this program where the servers are.
func (i *installation) tell(a *assignment) {
	a.Brokers, a.Prefix = strings.Split(i.parts.kafka.Address(), ","), i.prefix
	a.Cassandra, a.Keyspace = i.parts.cassandra.Address(), keyspace
}

// remove deletes the topics, so that the next measurement's broker has no more to keep than this one's had.
func (i *installation) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(i.parts.kafka.First()), Transport: transport}
	known, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var names []string
	for _, topic := range known.Topics {
		if strings.HasPrefix(topic.Name, i.prefix) {
			names = append(names, topic.Name)
		}
	}
	answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: names})
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	for _, err := range answer.Errors {
		if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) { // a process that ended took its own topic along
			return fmt.Errorf("delete topics: %w", err)
		}
	}
	return nil
}

// member is one process of a fleet.
type member struct {
	*child
	kind, admin string
}

// fleet is processes of an installation.
type fleet struct {
	doors
	installed *installation
	dir       string
	members   []*member
}

// crew is which roles a fleet has: "core-node", "mqtt-transport", …, each once per process.
type crew []string

func minimal() crew { return crew{"core-node", "mqtt-transport", "http-transport", "coap-transport"} }

// startFleet installs, starts a crew side by side and waits until all are ready.
func (b *bench) startFleet(ctx context.Context, dir string, c crew) (*fleet, error) {
	installed, err := b.fleet.install(ctx)
	if err != nil {
		return nil, err
	}
	f := &fleet{installed: installed, dir: dir}
	if err := f.launch(c); err != nil {
		return nil, errors.Join(err, f.end())
	}
	for _, m := range f.members {
		if err := awaitReady(m.admin); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", m.kind, err), f.end())
		}
	}
	return f, nil
}

// launch starts more processes without waiting for them. People's door is the last core node's, as the first is the
// one to be ended where one is.
func (f *fleet) launch(c crew) error {
	for _, kind := range c {
		m := &member{kind: kind}
		n := len(f.members) + 1
		network, flag, address := "tcp", "--http-listen", &f.http
		people := ""
		switch kind {
		case "core-node":
			address = &people
		case "mqtt-transport":
			flag, address = "--mqtt-listen", &f.mqtt
		case "coap-transport":
			network, flag, address = "udp", "--coap-listen", &f.coap
		}
		var err error
		if m.admin, err = part.FreeAddress("tcp"); err != nil {
			return err
		}
		if *address, err = part.FreeAddress(network); err != nil {
			return err
		}
		arguments := []string{kind, "--node-id", fmt.Sprintf("%s-%d", kind, n), "--admin-listen", m.admin, flag, *address}
		switch kind {
		case "core-node":
			arguments = append(arguments, "--data", filepath.Join(f.dir, fmt.Sprintf("data-%d", n)))
			f.people, f.admins = people, append(f.admins, m.admin)
		case "mqtt-transport":
			arguments = append(arguments, "--mqtt-websocket-listen", "")
		}
		if m.child, err = start(f.installed.environ, f.installed.parts.binary, arguments...); err != nil {
			return err
		}
		f.members = append(f.members, m)
	}
	return nil
}

// resident is the memory of all processes together, in bytes.
func (f *fleet) resident() (sum float64, err error) {
	for _, m := range f.members {
		one, err := m.resident()
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

// end stops all processes side by side and removes the installation.
func (f *fleet) end() error {
	errs := make(chan error, len(f.members))
	for _, m := range f.members {
		go func() { errs <- m.stop() }() // waited for below
	}
	var all []error
	for range f.members {
		all = append(all, <-errs)
	}
	return errors.Join(append(all, f.installed.remove())...)
}

// take removes and returns the first member of a kind.
func (f *fleet) take(kind string) *member {
	at := slices.IndexFunc(f.members, func(m *member) bool { return m.kind == kind })
	taken := f.members[at]
	f.members = slices.Delete(f.members, at, at+1)
	f.admins = slices.DeleteFunc(f.admins, func(admin string) bool { return admin == taken.admin })
	return taken
}
