package part

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// NewRedis installs Redis where that is needed and prepares one server in dir, without persistence: it is a cache.
func NewRedis(ctx context.Context, dir string) (*Single, error) {
	address, err := redisAddress(ctx)
	if err != nil {
		return nil, err
	}
	server, err := redisServer(dir, "redis", address, "+PONG")
	return &Single{address: address, Process: server}, err
}

// redisAddress makes sure that Redis is there and picks a port.
func redisAddress(ctx context.Context) (string, error) {
	if err := debian(ctx, needed{"redis-server", "redis-server"}); err != nil {
		return "", err
	}
	return FreeAddress("tcp")
}

// redisServer is one server called name; args are beyond those that all have.
func redisServer(dir, name, address, ready string, args ...string) (*Process, error) {
	dir = filepath.Join(dir, name)
	if err := folder(dir, nil); err != nil {
		return nil, fmt.Errorf("prepare Redis: %w", err)
	}
	host, port := split(address)
	return NewProcess(Command{
		Name: name, Program: "redis-server", Dir: dir,
		Args:  append([]string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no"}, args...),
		Ready: func(ctx context.Context) error { return ask(ctx, address, []byte("PING\r\n"), ready) },
	}), nil
}

// RedisSentinel is a master, a replica and one sentinel, which is enough to promote the replica when the master has
// been silent for half a second.
type RedisSentinel struct {
	Master, Replica, Sentinel *Process
	address                   string
}

// RedisMaster is the name under which the sentinel watches the master.
const RedisMaster = "sluice"

// NewRedisSentinel prepares the three in dir.
func NewRedisSentinel(ctx context.Context, dir string) (*RedisSentinel, error) {
	var addresses []string
	for range 3 {
		address, err := redisAddress(ctx)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	host, port := split(addresses[0])
	r := &RedisSentinel{address: addresses[2]}
	var err error
	if r.Master, err = redisServer(dir, "redis-master", addresses[0], "+PONG"); err != nil {
		return nil, err
	}
	if r.Replica, err = redisServer(dir, "redis-replica", addresses[1], "+PONG", "--replicaof", host, port, "--repl-diskless-sync-delay", "0"); err != nil {
		return nil, err
	}
	at := filepath.Join(dir, "redis-sentinel")
	_, sentinel := split(r.address)
	err = folder(at, map[string]string{"sentinel.conf": fmt.Sprintf(`bind %s
port %s
dir %s
sentinel monitor %s %s %s 1
sentinel down-after-milliseconds %[4]s 500
sentinel failover-timeout %[4]s 3000
`, host, sentinel, at, RedisMaster, host, port)})
	if err != nil {
		return nil, fmt.Errorf("prepare Redis: %w", err)
	}
	r.Sentinel = NewProcess(Command{
		Name: "redis-sentinel", Program: "redis-server", Args: []string{"sentinel.conf", "--sentinel"}, Dir: at,
		Ready: func(ctx context.Context) error { // it knows the replica, so it could promote it
			return ask(ctx, r.address, []byte("SENTINEL REPLICAS "+RedisMaster+"\r\nQUIT\r\n"), addresses[1])
		},
	})
	return r, nil
}

// Name is "redis-sentinel".
func (r *RedisSentinel) Name() string { return "redis-sentinel" }

// Address is the sentinel's.
func (r *RedisSentinel) Address() string { return r.address }

// Processes are master, replica and sentinel.
func (r *RedisSentinel) Processes() []*Process { return []*Process{r.Master, r.Replica, r.Sentinel} }

// Start starts the servers, then the sentinel, and waits until it knows both.
func (r *RedisSentinel) Start(ctx context.Context) error {
	for _, p := range r.Processes() {
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop stops all three.
func (r *RedisSentinel) Stop() error { return all(r.Processes(), (*Process).Stop) }

// RedisCluster is three masters that share the slots, without replicas.
type RedisCluster struct {
	Masters   []*Process
	addresses []string
	dealt     bool // the nodes remember who has which slots
}

// NewRedisCluster prepares the three in dir.
func NewRedisCluster(ctx context.Context, dir string) (*RedisCluster, error) {
	r := &RedisCluster{}
	for i := range 3 {
		address, err := redisAddress(ctx)
		if err != nil {
			return nil, err
		}
		bus, err := FreeAddress("tcp")
		if err != nil {
			return nil, err
		}
		_, busPort := split(bus)
		p, err := redisServer(dir, "redis-cluster-"+strconv.Itoa(i+1), address, "+PONG",
			"--cluster-enabled", "yes", "--cluster-port", busPort, "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
		if err != nil {
			return nil, err
		}
		r.Masters, r.addresses = append(r.Masters, p), append(r.addresses, address)
	}
	return r, nil
}

// Name is "redis-cluster".
func (r *RedisCluster) Name() string { return "redis-cluster" }

// Address is that of every master, with commas between.
func (r *RedisCluster) Address() string { return strings.Join(r.addresses, ",") }

// Processes are the masters.
func (r *RedisCluster) Processes() []*Process { return r.Masters }

// Start starts all masters and, the first time, deals the slots out; it waits until the cluster serves.
func (r *RedisCluster) Start(ctx context.Context) error {
	if err := all(r.Masters, func(p *Process) error { return p.Start(ctx) }); err != nil {
		return err
	}
	if !r.dealt {
		args := append([]string{"--cluster", "create"}, r.addresses...)
		if err := run(ctx, "redis-cli", append(args, "--cluster-yes")...); err != nil {
			return fmt.Errorf("deal out the slots: %w", err)
		}
		r.dealt = true
	}
	for _, address := range r.addresses {
		for {
			err := ask(ctx, address, []byte("CLUSTER INFO\r\nQUIT\r\n"), "cluster_state:ok")
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the cluster does not serve: %w", err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// Stop stops all masters.
func (r *RedisCluster) Stop() error { return all(r.Masters, (*Process).Stop) }

// split takes one of our own addresses apart.
func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err) // FreeAddress made it
	}
	return host, port
}
