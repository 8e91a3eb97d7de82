package coaptransport

import (
	"errors"
	"fmt"
	"time"
)

// Config is what operators set. Every bound on what devices can make grow is here.
type Config struct {
	Listen string `name:"coap-listen" default:":5683" help:"UDP address for CoAP; empty for none."`

	MaxPayloadBytes    int `name:"coap-max-payload" default:"8192" help:"Largest request payload in bytes; a larger one is answered 4.13."`
	MaxAnswerBytes     int `name:"coap-max-answer" default:"4096" help:"Largest answer payload in bytes; a larger one is answered 5.01."`
	InHand             int `name:"coap-in-hand" default:"20000" help:"Requests worked on at once; the next is answered 5.03."`
	Waiting            int `name:"coap-waiting" default:"1000" help:"Requests that wait for the core or for room on the bus at once; the next is answered 5.03."`
	Remembered         int `name:"coap-remembered" default:"100000" help:"Answered requests remembered to recognise their retransmissions; beyond it the oldest is forgotten."`
	Retransmitting     int `name:"coap-retransmitting" default:"10000" help:"Separate responses that wait for their acknowledgement; beyond it they are sent once."`
	OutboxBytes        int `name:"coap-outbox-bytes" default:"4194304" help:"Bytes of datagrams that wait to be sent; beyond it they are dropped."`
	ReceiveBufferBytes int `name:"coap-receive-buffer" default:"4194304" help:"Receive buffer asked of the kernel, in bytes; it may grant less."`
	Batch              int `name:"coap-batch" default:"64" help:"Datagrams read or written by one system call."`

	PiggybackTimeout time.Duration `name:"coap-piggyback-timeout" default:"500ms" help:"How long a request may take before it is acknowledged without its response."`
	Patience         time.Duration `name:"coap-patience" default:"10s" help:"How long a request waits for the core or for room on the bus."`
	RetryAfter       time.Duration `name:"coap-retry-after" default:"5s" help:"When a refused device may try again, in Max-Age of 5.03 and 4.29."`
	DrainTimeout     time.Duration `name:"coap-drain-timeout" default:"12s" help:"How long a stopping service waits for the requests in hand."`
}

// maxDatagram is what UDP over IPv4 can carry.
const maxDatagram = 65507

// optionsAllowance is what header, token and options of a request may add to its payload
// before it counts as too large.
const optionsAllowance = 1280

// check refuses settings that cannot work, naming them.
func (c *Config) check() error {
	var wrong []error
	for _, s := range []struct {
		name         string
		value, least int64
	}{
		{"coap-max-payload", int64(c.MaxPayloadBytes), 1},
		{"coap-max-answer", int64(c.MaxAnswerBytes), 1},
		{"coap-in-hand", int64(c.InHand), 1},
		{"coap-waiting", int64(c.Waiting), 1},
		{"coap-remembered", int64(c.Remembered), 1},
		{"coap-retransmitting", int64(c.Retransmitting), 0},
		{"coap-outbox-bytes", int64(c.OutboxBytes), maxDatagram},
		{"coap-receive-buffer", int64(c.ReceiveBufferBytes), 1},
		{"coap-batch", int64(c.Batch), 1},
		{"coap-piggyback-timeout", int64(c.PiggybackTimeout), 1},
		{"coap-patience", int64(c.Patience), 1},
		{"coap-retry-after", int64(c.RetryAfter), int64(time.Second)},
		{"coap-drain-timeout", int64(c.DrainTimeout), 0},
	} {
		if s.value < s.least {
			wrong = append(wrong, fmt.Errorf("%s: must be at least %d", s.name, s.least))
		}
	}
	if c.MaxPayloadBytes > maxDatagram {
		wrong = append(wrong, fmt.Errorf("coap-max-payload: a datagram holds at most %d", maxDatagram))
	}
	return errors.Join(wrong...)
}
