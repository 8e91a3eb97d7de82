// Package load puts devices' traffic on a server, as fast as it is answered: closed loops over
// MQTT, HTTP and CoAP, bounded in time and number, cheap enough not to be what is measured.
// It speaks its own, minimal client side of each protocol and checks every answer.
//
// Everything goes to loopback addresses only; others are refused.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to send where. A loop sends its next message when an earlier one was answered.
type Options struct {
	// Address of the server, on loopback.
	Address string
	// Clients is how many connections (CoAP: endpoints) there are, each a device of its own.
	Clients int
	// InFlight is how many messages each MQTT client has unanswered; HTTP and CoAP have one.
	InFlight int
	// Duration and Messages end the run, whichever comes first; Messages 0 is unbounded.
	Duration time.Duration
	Messages int
	// Rate, in messages per second of all clients together, holds the loops back; 0 does not.
	Rate float64
	// Token is client i's access token.
	Token func(i int) string
	// Payload is what every message carries.
	Payload []byte
	// Topic is the MQTT topic, v1/devices/me/telemetry when empty; Path replaces {token} in the HTTP and
	// CoAP path, /api/v1/{token}/telemetry when empty.
	Topic, Path string
}

// Result is what came of a run.
type Result struct {
	// Acknowledged and Refused count answers; Lost counts messages without an answer when their
	// connection broke or the run ended in trouble.
	Acknowledged, Refused, Lost int
	// Elapsed is from the first message sent to the last answer.
	Elapsed time.Duration
	// Latency is that of acknowledged messages, from when they were handed to the kernel.
	Latency Latencies
}

// PerSecond is the rate of acknowledged messages.
func (r Result) PerSecond() float64 { return float64(r.Acknowledged) / r.Elapsed.Seconds() }

// Token returns the access token devices for load tests have: "load-0", "load-1", …
func Token(i int) string { return "load-" + strconv.Itoa(i) }

// Reading returns a payload of three values, as a sensor might send it.
func Reading() []byte {
	return []byte(`{"temperature":21.5,"humidity":60,"pressure":1013.25}`)
}

// timedPrefix begins a payload whose time an MQTT client counts up, from message to message.
const timedPrefix = `{"ts":`

// firstTime is the time of a client's first timed reading, ms; its digits are as many as those of any later one.
const firstTime = 1_700_000_000_000

// TimedReading is Reading with a time of its own. A device that gives none may send a thousand
// readings a second, since each gets a millisecond of its own.
func TimedReading() []byte {
	return fmt.Appendf(nil, `%s%d,"values":%s}`, timedPrefix, firstTime, Reading())
}

var errRemote = errors.New("load is for loopback addresses only")

func (o *Options) check() error {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return fmt.Errorf("load address: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s: %w", o.Address, errRemote)
	}
	if o.Clients <= 0 || o.Duration <= 0 {
		return errors.New("load: how many clients, and for how long?")
	}
	if o.Token == nil {
		o.Token = Token
	}
	if o.InFlight <= 0 {
		o.InFlight = 1
	}
	if o.Topic == "" {
		o.Topic = "v1/devices/me/telemetry"
	}
	if o.Path == "" {
		o.Path = "/api/v1/{token}/telemetry"
	}
	return nil
}

// budget says whether another message may be sent.
type budget struct {
	start    time.Time
	rate     float64 // 0: as fast as answers come
	taken    atomic.Int64
	messages int64 // 0: unbounded
	finished atomic.Bool
}

// pause is how long a client waits when the rate allows no message now.
const pause = time.Millisecond

// take claims up to n messages and returns how many may be sent now; 0 and more: later.
func (b *budget) take(n int) (granted int, more bool) {
	if b.finished.Load() {
		return 0, false
	}
	bound := b.messages
	if b.rate > 0 {
		due := int64(b.rate * time.Since(b.start).Seconds())
		if bound == 0 || due < bound {
			bound = max(due, 1)
		}
	}
	if bound == 0 {
		return n, true
	}
	over := b.taken.Add(int64(n)) - bound
	if over > 0 {
		back := min(over, int64(n))
		b.taken.Add(-back)
		n -= int(back)
	}
	return n, b.messages == 0 || b.taken.Load() < b.messages
}

// next claims one message, waiting for it; false: there is none any more.
func (b *budget) next() bool {
	for {
		n, more := b.take(1)
		if n == 1 || !more {
			return n == 1
		}
		time.Sleep(pause)
	}
}

// client is one device's loop.
type client interface {
	// open connects; nothing is measured yet.
	open(ctx context.Context) error
	// run sends until the budget is used up and every message is answered.
	run(b *budget) error
	// close ends the connection.
	close()
	count() *tally
}

// tally is one client's part of the Result; the client's goroutine owns it until the run is over.
type tally struct {
	acknowledged, refused, lost int
	latency                     Latencies
}

// grace is how long answers are waited for when the run's time is over.
const grace = 15 * time.Second

// run opens the clients, lets them run side by side, and adds up.
func run(ctx context.Context, o Options, clients []client) (Result, error) {
	defer func() {
		for _, c := range clients {
			c.close()
		}
	}()
	for _, c := range clients {
		if err := c.open(ctx); err != nil {
			return Result{}, fmt.Errorf("open: %w", err)
		}
	}
	b := &budget{start: time.Now(), rate: o.Rate, messages: int64(o.Messages)}
	finish := time.AfterFunc(o.Duration, func() { b.finished.Store(true) })
	defer finish.Stop()
	stop := context.AfterFunc(ctx, func() { b.finished.Store(true) })
	defer stop()
	late := time.AfterFunc(o.Duration+grace, func() {
		for _, c := range clients {
			c.close()
		}
	})
	defer late.Stop()

	errs := make([]error, len(clients))
	var running sync.WaitGroup
	start := time.Now()
	for i, c := range clients {
		running.Go(func() { errs[i] = c.run(b) })
	}
	running.Wait()
	result := Result{Elapsed: time.Since(start)}
	for _, c := range clients {
		t := c.count()
		result.Acknowledged += t.acknowledged
		result.Refused += t.refused
		result.Lost += t.lost
		result.Latency.Merge(&t.latency)
	}
	return result, errors.Join(errs...)
}
