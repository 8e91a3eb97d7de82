package httptransport

import (
	"errors"
	"fmt"
	"time"
)

// Config is what operators set. Every bound on what devices can make grow is here.
type Config struct {
	Listen string `name:"http-listen" default:":8081" help:"Address for devices that speak HTTP; empty for none."`

	TLSListen       string `name:"http-tls-listen" default:"" help:"Address for devices that speak HTTPS; empty for none: HTTPS may end at a proxy."`
	TLSCertificates string `name:"http-tls-certificates" default:"" help:"Folder of certificates for http-tls-listen: *.pem with chain and key, or NAME.crt with NAME.key; or one such file. Changed files are read again."`

	ProxyTrusted []string `name:"http-proxy-trusted" help:"Networks of balancers whose X-Forwarded-For is believed to name the device's address; none by default."`

	MaxBodyBytes   int `name:"http-max-body" default:"524288" help:"Largest request body in bytes; a larger one is answered 413."`
	MaxRPCBytes    int `name:"http-max-rpc-body" default:"65536" help:"Largest body of requests, replies, claims and requests for credentials, in bytes."`
	MaxHeaderBytes int `name:"http-max-header" default:"8192" help:"Largest request line and headers in bytes."`
	Polls          int `name:"http-polls" default:"20000" help:"Most requests that wait for a downlink at a time; further ones are answered 503."`
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
		{"http-max-rpc-body", int64(c.MaxRPCBytes), 1},
		{"http-polls", int64(c.Polls), 0},
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
	switch {
	case c.TLSListen != "" && c.TLSCertificates == "":
		wrong = append(wrong, errors.New("http-tls-listen: needs http-tls-certificates"))
	case c.TLSListen == "" && c.TLSCertificates != "":
		wrong = append(wrong, errors.New("http-tls-certificates: needs http-tls-listen"))
	}
	return errors.Join(wrong...)
}
