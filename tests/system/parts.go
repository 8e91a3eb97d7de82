package system

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// Parts are the real servers a fleet rests on. Several fleets may use them one after the other: they share topics,
// tables and the administrator. A part that is nil is not used.
type Parts struct {
	Kafka     *part.Kafka
	ZooKeeper *part.Single
	Cassandra *part.Single
	Redis     *part.Single
	// Root, where it is not empty, is the fleet's own place in ZooKeeper and its keyspace in Cassandra; with a Kafka of its
	// own a fleet may so share the others with another that runs.
	Root string

	mu             sync.Mutex
	user, password string // of the first administrator, once installed
	dir            string
}

// StartParts starts Kafka, ZooKeeper, Cassandra and Redis side by side, with their data in a temporary folder. Stop
// ends them.
func StartParts(ctx context.Context, kafka part.KafkaOptions) (*Parts, error) {
	dir, err := os.MkdirTemp("", "sluice-parts-")
	if err != nil {
		return nil, err
	}
	p := &Parts{dir: dir}
	if p.Kafka, err = part.NewKafka(ctx, dir, kafka); err == nil {
		p.ZooKeeper, err = part.NewZooKeeper(ctx, dir)
	}
	if err == nil {
		p.Cassandra, err = part.NewCassandra(ctx, dir, "")
	}
	if err == nil {
		p.Redis, err = part.NewRedis(ctx, dir)
	}
	if err == nil {
		err = part.Together(p.all(), func(one part.Part) error { return one.Start(ctx) })
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Parts) all() (all []part.Part) {
	if p.Kafka != nil {
		all = append(all, p.Kafka)
	}
	for _, single := range []*part.Single{p.ZooKeeper, p.Cassandra, p.Redis} {
		if single != nil {
			all = append(all, single)
		}
	}
	return all
}

// Stop ends the parts and removes their data: nobody needs their orderly end.
func (p *Parts) Stop() error {
	for _, one := range p.all() {
		for _, process := range one.Processes() {
			process.Kill()
		}
	}
	return os.RemoveAll(p.dir)
}

// environ tells Sluice's processes where the parts are, as settings in the environment.
func (p *Parts) environ() []string {
	settings := []string{"--bus-brokers=" + p.Kafka.Address(), "--bus-replication=" + map[bool]string{true: "3", false: "1"}[len(p.Kafka.Brokers) > 2]}
	if p.ZooKeeper != nil {
		settings = append(settings, "--zookeeper="+p.ZooKeeper.Address(), "--zookeeper-session=2s", "--zookeeper-root=/"+p.root())
	}
	if p.Cassandra != nil {
		settings = append(settings, "--store=cassandra", "--cassandra-hosts="+p.Cassandra.Address(), "--cassandra-keyspace="+p.root())
	}
	if p.Redis != nil {
		settings = append(settings, "--redis=redis://"+p.Redis.Address())
	}
	return variables(settings)
}

func (p *Parts) root() string {
	if p.Root == "" {
		return "sluice"
	}
	return p.Root
}

// variables turns flags, --name=value, into variables of the environment, which every role takes what it knows from.
func variables(flags []string) (environ []string) {
	for _, flag := range flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		environ = append(environ, "SLUICE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+value)
	}
	return environ
}
