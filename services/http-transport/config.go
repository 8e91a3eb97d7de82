package httptransport

import (
	"errors"
	"fmt"
	"time"
)

// Config is what operators set. Every bound on what devices can make grow is here.
type Config struct {
	Listen string `name:"http-listen" default:":8081" help:"Address for devices that speak HTTP; empty for none."`

	MaxBodyBytes   int `name:"http-max-body" default:"524288" help:"Largest request body in bytes; a larger one is answered 413."`
	MaxHeaderBytes int `name:"http-max-header" default:"8192" help:"Largest request line and headers in bytes."`
	Connections    int `name:"http-connections" default:"20000" help:"Most connections at a time; further ones wait to be accepted."`

	HeaderTimeout time.Duration `name:"http-header-timeout" default:"10s" help:"How long a request's headers may take to arrive."`
	ReadTimeout   time.Duration `name:"http-read-timeout" default:"30s" help:"How long a whole request may take to arrive."`
	WriteTimeout  time.Duration `name:"http-write-timeout" default:"60s" help:"How long a request may take from its headers to its answer's end."`
	IdleTimeout   time.Duration `name:"http-idle-timeout" default:"120s" help:"How long a connection may stay open between requests."`

	Patience     time.Duration `name:"http-patience" default:"10s" help:"How long a request waits for room on the bus before it is answered 503."`
	RetryAfter   time.Duration `name:"http-retry-after" default:"5s" help:"When a refused device may try again, in Retry-After of 429 and 503."`
	DrainTimeout time.Duration `name:"http-drain-timeout" default:"12s" help:"How long a stopping service waits for the requests in hand."`
}

// check refuses settings that cannot work, naming them.
func (c *Config) check() error {
	var wrong []error
	for _, s := range []struct {
		name         string
		value, least int64
	}{
		{"http-max-body", int64(c.MaxBodyBytes), 1},
		{"http-max-header", int64(c.MaxHeaderBytes), 1},
		{"http-connections", int64(c.Connections), 1},
		{"http-header-timeout", int64(c.HeaderTimeout), 1},
		{"http-read-timeout", int64(c.ReadTimeout), 1},
		{"http-write-timeout", int64(c.WriteTimeout), 1},
		{"http-idle-timeout", int64(c.IdleTimeout), 1},
		{"http-patience", int64(c.Patience), 1},
		{"http-retry-after", int64(c.RetryAfter), int64(time.Second)},
		{"http-drain-timeout", int64(c.DrainTimeout), 0},
	} {
		if s.value < s.least {
			wrong = append(wrong, fmt.Errorf("%s: must be at least %d", s.name, s.least))
		}
	}
	return errors.Join(wrong...)
}
