package cassandra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Settings are what operators set of the store in Cassandra.
type Settings struct {
	Hosts       []string      `name:"cassandra-hosts" help:"Cassandra nodes to begin with, host:port; the others are found." default:"127.0.0.1:9042"`
	Keyspace    string        `name:"cassandra-keyspace" help:"Keyspace that holds everything stored." default:"sluice"`
	Replication string        `name:"cassandra-replication" help:"Copies of each row, used when the keyspace is installed: a number, or per data centre as dc1:3,dc2:3." default:"1"`
	Datacenter  string        `name:"cassandra-datacenter" help:"Data centre whose nodes are asked; empty: all." default:""`
	Consistency string        `name:"cassandra-consistency" help:"Copies that must have a write before it is acknowledged, and be asked for a read." default:"LOCAL_QUORUM"`
	User        string        `name:"cassandra-user" help:"User name; empty for none." default:""`
	Password    string        `name:"cassandra-password" help:"Password of the user." default:""`
	TLSCA       string        `name:"cassandra-tls-ca" help:"Certificates (PEM) that Cassandra's must be signed by; empty: no TLS." default:""`
	Timeout     time.Duration `name:"cassandra-timeout" help:"Longest time one request may take." default:"3s"`
	Connections int           `name:"cassandra-connections" help:"Connections to each node." default:"2"`
	InFlight    int           `name:"cassandra-in-flight" help:"Most writes of values under way at once, and as many other requests." default:"128"`
	BatchRows   int           `name:"cassandra-batch-rows" help:"Most rows of one partition sent in one request." default:"100"`
	BatchBytes  int           `name:"cassandra-batch-bytes" help:"Rows beyond this many bytes are sent in a request of their own." default:"65536"`
	ReadBytes   int           `name:"cassandra-read-bytes" help:"About how many bytes of a long series are held in memory at once." default:"4194304"`
	ValueBytes  int           `name:"cassandra-value-bytes" help:"Largest text or JSON value stored." default:"1048576"`
	KnownDays   int           `name:"cassandra-known-days" help:"Most days of entities remembered as being in the directory." default:"262144"`
	// KnownEntities bounds the other thing a write has to know.
	KnownEntities int `name:"cassandra-known-entities" help:"Most entities remembered as never having had latest values deleted, or how often." default:"262144"`
}

// DefaultSettings are the settings nobody changed, for tests and code that has no flags.
func DefaultSettings() Settings { return Options{}.withDefaults().Settings }

// Options say where the store is and what it may take. Zero fields have a default that works.
type Options struct {
	Settings
	Now     func() time.Time      // decides what has expired and how old a claim is; nil: time.Now
	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // where the store's figures are registered; nil: nowhere

	dial       dial          // nil: the network's
	renewAfter time.Duration // how long Cassandra may be away before names are looked up anew; default 15 s
}

// dial opens a connection to a node; it is the driver's Dialer.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// DialContext calls d.
func (d dial) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

func (o Options) withDefaults() Options {
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"127.0.0.1:9042"}
	}
	for field, value := range map[*string]string{&o.Keyspace: "sluice", &o.Replication: "1", &o.Consistency: "LOCAL_QUORUM"} {
		if *field == "" {
			*field = value
		}
	}
	for field, value := range map[*int]int{
		&o.Connections: 2, &o.InFlight: 128, &o.BatchRows: 100, &o.BatchBytes: 64 << 10, &o.ReadBytes: 4 << 20,
		&o.ValueBytes: 1 << 20, &o.KnownDays: 256 << 10, &o.KnownEntities: 256 << 10,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if o.renewAfter == 0 {
		o.renewAfter = 15 * time.Second
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{Timeout: o.Timeout, KeepAlive: 15 * time.Second}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// maxValueBytes keeps a row below half a segment of Cassandra's commit log (32 MiB), the most it takes.
const maxValueBytes = 8 << 20

var plainName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)

func (o Options) validate() (gocql.Consistency, error) {
	consistency, err := gocql.ParseConsistencyWrapper(o.Consistency)
	if err != nil {
		return 0, fmt.Errorf("--cassandra-consistency: %w", err)
	}
	if !plainName.MatchString(o.Keyspace) {
		return 0, fmt.Errorf("--cassandra-keyspace: %q is not of a-z, 0-9 and _", o.Keyspace)
	}
	for name, value := range map[string]int{
		"connections": o.Connections, "in-flight": o.InFlight, "batch-rows": o.BatchRows, "batch-bytes": o.BatchBytes,
		"read-bytes": o.ReadBytes, "value-bytes": o.ValueBytes, "known-days": o.KnownDays, "known-entities": o.KnownEntities,
	} {
		if value <= 0 {
			return 0, fmt.Errorf("--cassandra-%s: %d is not a positive number", name, value)
		}
	}
	if o.ValueBytes > maxValueBytes {
		return 0, fmt.Errorf("--cassandra-value-bytes: %d is more than %d", o.ValueBytes, maxValueBytes)
	}
	if o.Timeout <= 0 || o.Timeout > maxTimeout {
		return 0, fmt.Errorf("--cassandra-timeout: %v is not between 0 and %v", o.Timeout, maxTimeout)
	}
	_, err = o.replication()
	return consistency, err
}

// replication is the keyspace's setting of that name, in CQL.
func (o Options) replication() (string, error) {
	bad := errors.New("--cassandra-replication: want a number from 1, or dc1:3,dc2:3")
	if n, err := strconv.Atoi(o.Replication); err == nil {
		if n < 1 {
			return "", bad
		}
		return fmt.Sprintf("{'class': 'NetworkTopologyStrategy', 'replication_factor': %d}", n), nil
	}
	var centres strings.Builder
	for part := range strings.SplitSeq(o.Replication, ",") {
		name, copies, _ := strings.Cut(part, ":")
		n, err := strconv.Atoi(copies)
		if err != nil || n < 1 || name == "" || strings.Contains(name, "'") {
			return "", bad
		}
		fmt.Fprintf(&centres, ", '%s': %d", name, n)
	}
	return "{'class': 'NetworkTopologyStrategy'" + centres.String() + "}", nil
}
