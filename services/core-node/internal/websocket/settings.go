package websocket

import "time"

// Settings are what operators set of WebSocket sessions. Limits of 0 are none, except where said.
type Settings struct {
	MaxFrame          int64         `name:"ws-max-frame" help:"Largest frame taken from a client, bytes." default:"32768"`
	MaxSessions       int           `name:"ws-max-sessions" help:"Most sessions of this node, logged in or not." default:"10000"`
	TenantSessions    int           `name:"ws-tenant-sessions" help:"Most sessions of one tenant; 0 for no limit." default:"0"`
	CustomerSessions  int           `name:"ws-customer-sessions" help:"Most sessions of one customer; 0 for no limit." default:"0"`
	UserSessions      int           `name:"ws-user-sessions" help:"Most sessions of one customer's user; 0 for no limit." default:"0"`
	Subscriptions     int           `name:"ws-subscriptions" help:"Most subscriptions of one session." default:"1000"`
	Keys              int           `name:"ws-keys" help:"Most keys followed by one subscription." default:"10000"`
	Pending           int           `name:"ws-pending" help:"Most frames waiting for one client; beyond, the session is closed." default:"1000"`
	PendingBytes      int           `name:"ws-pending-bytes" help:"Most bytes waiting for one client besides one answer; beyond, the session is closed." default:"4194304"`
	CoalesceAfter     int           `name:"ws-coalesce-after" help:"Frames waiting from which on updates of a subscription are merged into its newest values: more than one burst of all it watches. Half of what may wait is reason enough." default:"500"`
	UpdatesPerSecond  int           `name:"ws-updates-per-second" help:"Most updates a second of one session; 0 for no limit." default:"0"`
	AuthTimeout       time.Duration `name:"ws-auth-timeout" help:"How long a session may stay without logging in." default:"10s"`
	PingTimeout       time.Duration `name:"ws-ping-timeout" help:"How long a client may leave pings unanswered; they are sent three times as often." default:"30s"`
	SlowAfter         time.Duration `name:"ws-slow-after" help:"A client that takes longer for one frame is closed." default:"5s"`
	WriteTimeout      time.Duration `name:"ws-write-timeout" help:"A client that takes longer for one frame is cut off." default:"15s"`
	CommandTimeout    time.Duration `name:"ws-command-timeout" help:"Longest time one command may take." default:"10s"`
	HistoryPointLimit int           `name:"ws-default-limit" help:"Points of a series returned when a command names no limit." default:"100"`
}

// DefaultSettings are the settings nobody changed, for tests and code that has no flags.
func DefaultSettings() Settings {
	return Settings{
		MaxFrame: 32 << 10, MaxSessions: 10_000, Subscriptions: 1000, Keys: 10_000,
		Pending: 1000, PendingBytes: 4 << 20, CoalesceAfter: 500,
		AuthTimeout: 10 * time.Second, PingTimeout: 30 * time.Second,
		SlowAfter: 5 * time.Second, WriteTimeout: 15 * time.Second, CommandTimeout: 10 * time.Second, HistoryPointLimit: 100,
	}
}
