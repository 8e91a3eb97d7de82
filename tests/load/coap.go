package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// CoAP posts o.Payload over CoAP, confirmable, one message at a time per client (NSTART = 1), and
// sends again what is not acknowledged in time (RFC 7252 §4.2).
func CoAP(ctx context.Context, o Options) (Result, error) { return coap(ctx, o, dialUDP) }

// CoAPS is CoAP over DTLS, a connection per client, as cheap but for the ciphers. The server's certificate is not verified.
func CoAPS(ctx context.Context, o Options) (Result, error) { return coap(ctx, o, dialDTLS) }

func coap(ctx context.Context, o Options, dial func(context.Context, *net.UDPAddr) (net.Conn, error)) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	clients := make([]client, o.Clients)
	for i := range clients {
		clients[i] = &coapClient{dial: dial, address: o.Address, datagram: coapPost(strings.ReplaceAll(o.Path, "{token}", o.Token(i)), o.Payload)}
	}
	return run(ctx, o, clients)
}

const (
	coapConfirmable     = 0x40 // version 1, CON, no token
	coapAcknowledgement = 0x60
	coapPostCode        = 2
	coapURIPath         = 11
	coapTokenSize       = 4
	coapResend          = 2 * time.Second
	coapResends         = 4
)

type coapClient struct {
	tally
	dial     func(context.Context, *net.UDPAddr) (net.Conn, error)
	address  string
	conn     net.Conn
	datagram []byte // its message id and token change from message to message
	buffer   [1500]byte
	sequence uint32
}

// coapPost is a POST to path, ready but for id and token.
func coapPost(path string, payload []byte) []byte {
	d := []byte{coapConfirmable | coapTokenSize, coapPostCode, 0, 0, 0, 0, 0, 0}
	previous := 0
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		d = append(d, byte(coapURIPath-previous)<<4)
		if n := len(segment); n < 13 {
			d[len(d)-1] |= byte(n)
		} else {
			d[len(d)-1] |= 13
			d = append(d, byte(n-13))
		}
		d = append(d, segment...)
		previous = coapURIPath
	}
	return append(append(d, 0xff), payload...)
}

func (c *coapClient) open(ctx context.Context) error {
	server, err := net.ResolveUDPAddr("udp", c.address)
	if err != nil {
		return err
	}
	c.conn, err = c.dial(ctx, server)
	return err
}

func dialUDP(_ context.Context, server *net.UDPAddr) (net.Conn, error) {
	return net.DialUDP("udp", nil, server)
}

func (c *coapClient) run(b *budget) error {
	for b.next() {
		c.sequence++
		binary.BigEndian.PutUint16(c.datagram[2:], uint16(c.sequence))
		binary.BigEndian.PutUint32(c.datagram[4:], c.sequence)
		sent := time.Now()
		code, err := c.exchange()
		switch {
		case err != nil:
			c.lost++
			return fmt.Errorf("coap message %d: %w", c.sequence, err)
		case code>>5 == 2:
			c.acknowledged++
			c.latency.Add(time.Since(sent), 1)
		default:
			c.refused++
		}
	}
	return nil
}

// exchange sends the datagram and returns the response's code.
func (c *coapClient) exchange() (code byte, err error) {
	timeout := coapResend
	for range coapResends + 1 {
		if _, err := c.conn.Write(c.datagram); err != nil {
			return 0, err
		}
		if code, err = c.await(timeout); !timedOut(err) {
			return code, err
		}
		timeout *= 2
	}
	return 0, err
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// await reads until the response to the present message is there. Everything else is a leftover
// of an earlier one.
func (c *coapClient) await(timeout time.Duration) (code byte, err error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	for {
		n, err := c.conn.Read(c.buffer[:])
		if err != nil {
			return 0, err
		}
		d := c.buffer[:n]
		if n < 4 || d[0]>>6 != 1 {
			return 0, fmt.Errorf("no CoAP message: % x", d)
		}
		kind, size := d[0]&0x30, int(d[0]&15)
		switch {
		case kind == 0x30:
			return 0, errors.New("reset")
		case d[1] == 0 && binary.BigEndian.Uint16(d[2:]) == uint16(c.sequence):
			// Acknowledged: the response follows, and nothing need be sent again.
			if err := c.conn.SetReadDeadline(time.Now().Add(grace)); err != nil {
				return 0, err
			}
		case size == coapTokenSize && n >= 8 && binary.BigEndian.Uint32(d[4:]) == c.sequence:
			if kind == 0 { // a separate response wants its acknowledgement
				if _, err := c.conn.Write([]byte{coapAcknowledgement, 0, d[2], d[3]}); err != nil {
					return 0, err
				}
			}
			return d[1], nil
		}
	}
}

func (c *coapClient) close() {
	if c.conn != nil {
		// All that was sent is answered, or given up; there is nothing to flush.
		_ = c.conn.Close()
	}
}

func (c *coapClient) count() *tally { return &c.tally }
