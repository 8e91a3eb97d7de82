package httpapi

import "time"

// Settings are what operators set of the REST API.
type Settings struct {
	MaxBody     int64         `name:"rest-max-body" help:"Largest request body, bytes." default:"16777216"`
	MaxPageSize int           `name:"rest-max-page-size" help:"Most entities on one page." default:"10000"`
	MaxChain    int           `name:"rest-max-rule-chain" help:"Largest rule chain, bytes of JSON." default:"4194304"`
	Timeout     time.Duration `name:"rest-timeout" help:"Longest time one request may take." default:"30s"`
}

// DefaultSettings are the settings nobody changed, for tests and code that has no flags.
func DefaultSettings() Settings {
	return Settings{MaxBody: 16 << 20, MaxPageSize: 10_000, MaxChain: 4 << 20, Timeout: 30 * time.Second}
}
