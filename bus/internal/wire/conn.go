// Package wire is the conversation with brokers: connections that one goroutine uses at a time, the
// requests the bus makes over them, and who leads or coordinates what. Produce and fetch, which carry every
// message, are framed here; everything else uses kafka-go's protocol packages.
package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// Dialer opens connections to the brokers of one cluster. It is safe for concurrent use.
type Dialer struct {
	// Brokers are addresses to start from; the others are learned from them.
	Brokers []string
	// ClientID names this process in the brokers' logs.
	ClientID string
	// TLS is used for every connection when it is set.
	TLS *tls.Config
	// Dial opens the underlying connections when it is set.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds opening a connection and, each, a request and its answer.
	Timeout time.Duration
	// Prefix begins the name of every topic on the brokers; callers neither say nor see it.
	Prefix string

	layout layout
}

// Conn is one connection to one broker. It is used by one goroutine at a time. After an error that is not a
// broker's answer (Refused) it is of no further use and must be closed.
type Conn struct {
	pc          *protocol.Conn // buffers what is read; writes go to raw
	raw         net.Conn
	timeout     time.Duration
	clientID    string
	prefix      string // of topics' names on the broker
	correlation int32
	frame       frame // the request being written; kept for its memory
}

// Refused returns the error a broker answered with; ok is false for errors of the connection itself.
func Refused(err error) (code kafka.Error, ok bool) {
	ok = errors.As(err, &code)
	return code, ok
}

// Connect opens a connection to the broker at addr and agrees on the protocol's versions.
func (d *Dialer) Connect(ctx context.Context, addr string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	dial := d.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to broker: %w", err)
	}
	if d.TLS != nil {
		raw = tls.Client(raw, d.TLS)
	}
	c := &Conn{pc: protocol.NewConn(raw, d.ClientID), raw: raw, timeout: d.Timeout, clientID: d.ClientID, prefix: d.Prefix}
	if err := c.agree(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("agree on versions with broker %s: %w", addr, err), c.Close())
	}
	return c, nil
}

func (c *Conn) agree(ctx context.Context) error {
	answer, err := c.Do(ctx, new(apiversions.Request))
	if err != nil {
		return err
	}
	offered, ok := answer.(*apiversions.Response)
	if !ok {
		return fmt.Errorf("unexpected answer %T", answer)
	}
	if offered.ErrorCode != 0 {
		return kafka.Error(offered.ErrorCode)
	}
	versions := make(map[protocol.ApiKey]int16, len(offered.ApiKeys))
	for _, k := range offered.ApiKeys {
		key := protocol.ApiKey(k.ApiKey)
		versions[key] = min(key.SelectVersion(k.MinVersion, k.MaxVersion), newest(key))
	}
	c.pc.SetVersions(versions)
	return nil
}

// Do sends a request and returns the answer.
func (c *Conn) Do(ctx context.Context, request protocol.Message) (protocol.Message, error) {
	return c.doWithin(ctx, c.timeout, request)
}

// doWithin is Do for a request that brokers may hold longer than others.
func (c *Conn) doWithin(ctx context.Context, timeout time.Duration, request protocol.Message) (protocol.Message, error) {
	release, err := c.limit(ctx, timeout)
	if err != nil {
		return nil, err
	}
	defer release()
	return c.pc.RoundTrip(request)
}

// limit makes reads and writes fail after timeout or when ctx ends, until release is called.
func (c *Conn) limit(ctx context.Context, timeout time.Duration) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.pc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		return func() {}, nil
	}
	stop := context.AfterFunc(ctx, c.interrupt)
	return func() { stop() }, nil
}

// interrupt makes a blocked read or write of another goroutine return.
func (c *Conn) interrupt() { _ = c.pc.SetDeadline(time.Unix(1, 0)) } // only a closed connection refuses, and that needs no interruption

// Close closes the connection.
func (c *Conn) Close() error { return c.pc.Close() }

// TooLarge reports whether a broker refused because a batch or a message is larger than it takes.
func TooLarge(code kafka.Error) bool {
	return code == kafka.MessageSizeTooLarge || code == kafka.RecordListTooLarge
}
