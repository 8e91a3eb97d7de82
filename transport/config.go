package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/transport/limit"
	"github.com/sluice-iot/sluice/transport/redis"
)

// Config is what operators set for every device protocol alike. A process has it once, since
// it has one Transport.
type Config struct {
	UplinkMaxBytes int `name:"uplink-max-bytes" default:"262144" help:"Largest uplink, as it goes on the bus, in bytes. A larger one is refused."`

	NumericStrings  bool `name:"numeric-strings" default:"true" negatable:"" help:"Store a JSON string that looks like a number as that number."`
	PayloadDepth    int  `name:"payload-depth" default:"32" help:"Deepest nesting of objects and arrays in a JSON payload."`
	PayloadValues   int  `name:"payload-values" default:"20000" help:"Most values and time stamps one JSON payload may hold."`
	PayloadTextSize int  `name:"payload-text-bytes" default:"0" help:"Longest text value in bytes; 0 leaves it to the size of the payload."`

	SchemaCacheBytes int `name:"schema-cache-bytes" default:"4194304" help:"Most bytes of profiles' protobuf schemas that are kept compiled; a compiled one takes up to fifty times its text."`

	CredentialsCached    int           `name:"credentials-cached" default:"100000" help:"Most credentials remembered, right and wrong ones together."`
	CredentialsFresh     time.Duration `name:"credentials-fresh" default:"60s" help:"How long right credentials are believed without asking again."`
	CredentialsRejected  time.Duration `name:"credentials-rejected" default:"1s" help:"How long wrong credentials are remembered."`
	CredentialsMaxBytes  int           `name:"credentials-max-bytes" default:"1024" help:"Longest credentials looked at, in bytes; longer ones are wrong."`
	CertificatesMaxBytes int           `name:"certificates-max-bytes" default:"16384" help:"Longest chain of client certificates looked at, in bytes; longer ones are wrong."`
	CredentialsProved    int           `name:"credentials-proved" default:"200000" help:"Most credentials remembered, as hashes, as having been right: they may be asked about from an address with too many wrong ones."`
	WrongCredentials     string        `name:"wrong-credentials" default:"60:60" help:"Rate of wrong credentials from one address, as \"capacity:seconds,…\"; above it, only what proved right before is looked at. Empty is unlimited."`
	WrongAddresses       int           `name:"wrong-addresses" default:"20000" help:"Most addresses that wrong credentials are counted of."`
	CallsInFlight        int           `name:"calls-in-flight" default:"1024" help:"Most credentials being checked at a time; others wait."`
	CallBudget           time.Duration `name:"call-budget" default:"5s" help:"How long a core node has to answer a call."`

	Sessions       int           `name:"sessions" default:"200000" help:"Most device sessions of this process."`
	SessionRenewal time.Duration `name:"session-renewal" default:"60s" help:"How often an open session is announced again to the device's owner."`
	ActivityReport time.Duration `name:"activity-report" default:"3s" help:"How often activity that was no uplink is reported."`

	PackageCacheBytes int `name:"package-cache-bytes" default:"67108864" help:"Most bytes of firmware and software that are kept in memory for the devices that read it."`

	RPCTimeout   time.Duration `name:"rpc-timeout" default:"60s" help:"How long a device's own request waits for its rule chain's answer."`
	RPCs         int           `name:"rpcs" default:"50000" help:"Most requests of devices that wait for their rule chain's answer."`
	RPCsOfDevice int           `name:"rpcs-of-device" default:"100" help:"The same of one device."`

	DeviceLimits Limits `embed:"" prefix:"device-limit-"`
	TenantLimits Limits `embed:"" prefix:"tenant-limit-"`

	Redis redis.Config `embed:""`
}

// DefaultConfig returns the settings of an operator who sets none: the tags' defaults, written out for
// code that has no flags. tests/architecture holds the two together.
func DefaultConfig() Config {
	return Config{
		UplinkMaxBytes: 256 << 10,

		NumericStrings: true,
		PayloadDepth:   32,
		PayloadValues:  20_000,

		SchemaCacheBytes: 4 << 20,

		CredentialsCached:    100_000,
		CredentialsFresh:     time.Minute,
		CredentialsRejected:  time.Second,
		CredentialsMaxBytes:  1024,
		CertificatesMaxBytes: 16 << 10,
		CredentialsProved:    200_000,
		WrongCredentials:     "60:60",
		WrongAddresses:       20_000,
		CallsInFlight:        1024,
		CallBudget:           5 * time.Second,

		Sessions:       200_000,
		SessionRenewal: time.Minute,
		ActivityReport: 3 * time.Second,

		PackageCacheBytes: 64 << 20,

		RPCTimeout:   time.Minute,
		RPCs:         50_000,
		RPCsOfDevice: 100,

		Redis: redis.DefaultConfig(),
	}
}

// Limits are rates of one device or one tenant, written as "capacity:seconds", several
// separated by commas that all hold ("200:1,6000:60"). Empty is unlimited.
type Limits struct {
	Messages  string `name:"messages" default:"" help:"Rate of messages that carry no telemetry, as \"capacity:seconds,…\"; empty is unlimited."`
	Telemetry string `name:"telemetry" default:"" help:"Rate of messages that carry telemetry or attributes, as \"capacity:seconds,…\"."`
	Points    string `name:"points" default:"" help:"Rate of single values, as \"capacity:seconds,…\"."`
}

// Options are what the program hands in.
type Options struct {
	Log *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
}

// check refuses settings that cannot work, naming them.
func (c *Config) check() error {
	positive := map[string]int64{
		"uplink-max-bytes":       int64(c.UplinkMaxBytes),
		"payload-depth":          int64(c.PayloadDepth),
		"payload-values":         int64(c.PayloadValues),
		"credentials-cached":     int64(c.CredentialsCached),
		"credentials-fresh":      int64(c.CredentialsFresh),
		"credentials-max-bytes":  int64(c.CredentialsMaxBytes),
		"calls-in-flight":        int64(c.CallsInFlight),
		"call-budget":            int64(c.CallBudget),
		"sessions":               int64(c.Sessions),
		"session-renewal":        int64(c.SessionRenewal),
		"activity-report":        int64(c.ActivityReport),
		"certificates-max-bytes": int64(c.CertificatesMaxBytes),
		"rpc-timeout":            int64(c.RPCTimeout),
		"rpcs":                   int64(c.RPCs),
		"schema-cache-bytes":     int64(c.SchemaCacheBytes),
		"credentials-proved":     int64(c.CredentialsProved),
		"wrong-addresses":        int64(c.WrongAddresses),
		"package-cache-bytes":    int64(c.PackageCacheBytes),
		"rpcs-of-device":         int64(c.RPCsOfDevice),
	}
	var wrong []error
	for name, value := range positive {
		if value <= 0 {
			wrong = append(wrong, fmt.Errorf("%s: must be above zero", name))
		}
	}
	wrong = append(wrong, c.Redis.Check())
	return errors.Join(wrong...)
}

func (l Limits) check(name string) error {
	if _, err := limit.ParseRates(l.Messages, l.Telemetry, l.Points); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
