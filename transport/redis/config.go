// Package redis keeps what the transports of a fleet share besides the bus: verdicts on
// credentials, and what is left of rates. Both are hints: whatever fails here fails at once or
// within the time-out, and after the first failure Redis is left alone until it answers again,
// so that one that is away costs nobody more than a single wait.
package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	driver "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config is where Redis is and how much patience it gets.
type Config struct {
	URL      string `name:"redis" default:"" help:"Redis shared by all transports: redis://host:6379/0, rediss:// for TLS; further nodes of a cluster or sentinels as ?addr=host:port&addr=…. Empty: none."`
	Mode     string `name:"redis-mode" default:"standalone" enum:"standalone,sentinel,cluster" help:"What the address leads to: standalone, sentinel or cluster."`
	Master   string `name:"redis-master" default:"" help:"Name of the master that the sentinels watch."`
	Password string `name:"redis-password" default:"" help:"Redis's password; a user goes into the URL. Secret."`
	Key      string `name:"redis-key" default:"" help:"Key under which verdicts are named and sealed, the same on all transports; empty is Redis's password. Secret."`
	Prefix   string `name:"redis-prefix" default:"sluice" help:"What every key in Redis begins with."`

	Timeout     time.Duration `name:"redis-timeout" default:"100ms" help:"How long Redis has to answer."`
	Pause       time.Duration `name:"redis-pause" default:"250ms" help:"How often Redis is asked whether it answers again after it failed; nothing else is asked meanwhile."`
	Connections int           `name:"redis-connections" default:"16" help:"Most connections to each Redis node."`
	Fresh       time.Duration `name:"redis-credentials-fresh" default:"60s" help:"How long right credentials stay in Redis."`
	Events      int           `name:"redis-events" default:"100000" help:"How many entity changes are remembered to tell what in Redis is out of date (about 100 bytes each)."`
	Limits      int           `name:"redis-limits" default:"1000" help:"Most rates of tenants, and most of devices, that are shared with the other transports per tenth of a second; 0 shares none."`
}

// DefaultConfig returns the settings of an operator who sets none: the tags' defaults, written out for
// code that has no flags. tests/architecture holds the two together.
func DefaultConfig() Config {
	return Config{
		Mode:   "standalone",
		Prefix: "sluice",

		Timeout:     100 * time.Millisecond,
		Pause:       250 * time.Millisecond,
		Connections: 16,
		Fresh:       time.Minute,
		Events:      100_000,
		Limits:      1000,
	}
}

// Check refuses settings that cannot work, naming them. Without a URL all can.
func (c *Config) Check() error {
	if c.URL == "" {
		return nil
	}
	var wrong []error
	for _, p := range []struct {
		name  string
		value int64
	}{
		{"redis-timeout", int64(c.Timeout)},
		{"redis-pause", int64(c.Pause)},
		{"redis-connections", int64(c.Connections)},
		{"redis-credentials-fresh", int64(c.Fresh)},
		{"redis-events", int64(c.Events)},
	} {
		if p.value <= 0 {
			wrong = append(wrong, fmt.Errorf("%s: must be above zero", p.name))
		}
	}
	if c.Limits < 0 {
		wrong = append(wrong, errors.New("redis-limits: must not be below zero"))
	}
	if _, err := c.options(); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// errURL names the setting and does not quote it: a URL may hold a password.
var errURL = errors.New("redis: not a URL like redis://host:6379/0 or rediss://user@host:6379?addr=host:6380")

// options is c as the driver takes it.
func (c *Config) options() (*driver.UniversalOptions, error) {
	o := &driver.UniversalOptions{
		Protocol: 2, DisableIdentity: true,
		// Each wait is the whole wait: no second try, no queue behind it.
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		PoolSize: c.Connections, MaxActiveConns: c.Connections, PipelinePoolSize: -1,
		ReadBufferSize: bufferBytes, WriteBufferSize: bufferBytes,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	var secure *tls.Config
	switch c.Mode {
	case "cluster":
		from, err := driver.ParseClusterURL(c.URL)
		if err != nil {
			return nil, errURL
		}
		o.IsClusterMode, o.Addrs, o.Username, o.Password, secure = true, from.Addrs, from.Username, from.Password, from.TLSConfig
	case "sentinel":
		from, err := driver.ParseFailoverURL(c.URL)
		if err != nil {
			return nil, errURL
		}
		o.Addrs, o.DB, o.Username, o.Password, secure = from.SentinelAddrs, from.DB, from.Username, from.Password, from.TLSConfig
		o.SentinelUsername, o.SentinelPassword = from.SentinelUsername, from.SentinelPassword
		if o.MasterName = c.Master; c.Master == "" {
			o.MasterName = from.MasterName
		}
		if o.MasterName == "" {
			return nil, errors.New("redis-master: the sentinels need its name")
		}
	case "standalone":
		from, err := driver.ParseURL(c.URL)
		if err != nil {
			return nil, errURL
		}
		o.Addrs, o.DB, o.Username, o.Password, secure = []string{from.Addr}, from.DB, from.Username, from.Password, from.TLSConfig
	default:
		return nil, fmt.Errorf("redis-mode: %q is not standalone, sentinel or cluster", c.Mode)
	}
	o.TLSConfig = secure
	if c.Password != "" {
		o.Password = c.Password
	}
	return o, nil
}

// bufferBytes holds a verdict many times over.
const bufferBytes = 4 << 10

// Secret is the key that verdicts are named and sealed under.
func (c *Config) Secret() []byte {
	o, err := c.options()
	if c.Key != "" || err != nil {
		return []byte(c.Key)
	}
	return []byte(o.Password)
}
