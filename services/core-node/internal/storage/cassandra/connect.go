package cassandra

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// reconnect is how often a node that is down is tried again.
const reconnect = time.Second

// connect opens a session; keyspace "" is for those who look before they use one. The driver's own
// way of connecting takes no context: what it is doing when ctx ends it finishes unwatched, within
// its time-outs, and is closed then.
func connect(ctx context.Context, o Options, keyspace string) (*gocql.Session, error) {
	type result struct {
		session *gocql.Session
		err     error
	}
	done := make(chan result, 1)
	cluster := clusterOf(o, keyspace)
	go func() {
		session, err := cluster.CreateSession()
		done <- result{session, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, refused(fmt.Errorf("connect to Cassandra at %v: %w", o.Hosts, r.err))
		}
		return r.session, nil
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.session.Close()
			}
		}()
		return nil, fmt.Errorf("connect to Cassandra at %v: %w", o.Hosts, ctx.Err())
	}
}

func clusterOf(o Options, keyspace string) *gocql.ClusterConfig {
	c := gocql.NewCluster(o.Hosts...)
	c.Keyspace = keyspace
	c.ProtoVersion = 4
	c.Consistency, _ = gocql.ParseConsistencyWrapper(o.Consistency) // checked by validate
	c.SerialConsistency = gocql.Serial
	c.Timeout, c.ConnectTimeout, c.WriteTimeout = o.Timeout, o.Timeout, o.Timeout
	c.NumConns = o.Connections
	c.MaxPreparedStmts = 1000
	c.DefaultTimestamp = false
	// A node that went away, and be it the only one, is looked for every second and for ever.
	c.ReconnectInterval = reconnect
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: reconnect}
	c.Dialer = o.dial
	c.Logger = driverLog{o.Log}
	c.Metadata.CacheMode = gocql.KeyspaceOnly
	fallback := gocql.RoundRobinHostPolicy()
	if o.Datacenter != "" {
		fallback = gocql.DCAwareRoundRobinPolicy(o.Datacenter)
	}
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(fallback, gocql.ShuffleReplicas())
	if o.User != "" {
		c.Authenticator = gocql.PasswordAuthenticator{Username: o.User, Password: o.Password}
	}
	if o.TLSCA != "" {
		c.SslOpts = &gocql.SslOptions{CaPath: o.TLSCA, EnableHostVerification: true}
	}
	return c
}

// driverLog passes on what the driver says. Its warnings come with every attempt to reach a node
// that is down; the store's own log says that once.
type driverLog struct{ to *slog.Logger }

// Error passes on an error as a warning: whoever asked is told, too.
func (l driverLog) Error(message string, fields ...gocql.LogField) {
	l.say(slog.LevelWarn, message, fields)
}

// Warning is for those who debug.
func (l driverLog) Warning(message string, fields ...gocql.LogField) {
	l.say(slog.LevelDebug, message, fields)
}

// Info is for those who debug.
func (l driverLog) Info(message string, fields ...gocql.LogField) {
	l.say(slog.LevelDebug, message, fields)
}

// Debug is dropped: it is the driver's own.
func (l driverLog) Debug(string, ...gocql.LogField) {}

func (l driverLog) say(level slog.Level, message string, fields []gocql.LogField) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	attributes := make([]slog.Attr, len(fields))
	for i, f := range fields {
		attributes[i] = slog.String(f.Name, f.Value.String())
	}
	l.to.LogAttrs(context.Background(), level, "Cassandra driver: "+message, attributes...)
}
