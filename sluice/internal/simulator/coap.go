package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// Transmission parameters of RFC 7252 §4.8.
const (
	coapAckTimeout    = 2 * time.Second
	coapRandomFactor  = 0.5 // of the time-out, added at random
	coapMaxRetransmit = 4
	maxDatagram       = 1500
	maxOptions        = 16 // of one message; its codec wants the room beforehand
)

// coapLink posts readings as confirmable messages, one at a time (NSTART = 1, RFC 7252 §4.7).
type coapLink struct {
	conn   net.Conn
	path   message.Options
	lastID uint16
	buffer [maxDatagram]byte
}

func dialCoAP(ctx context.Context, address, token string) (*coapLink, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	path := telemetryPath(token)
	options, _, err := message.Options{}.SetPath(make([]byte, len(path)), path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("path %s: %w", path, err), conn.Close())
	}
	return &coapLink{conn: conn, path: options, lastID: uint16(rand.Uint32())}, nil
}

func (l *coapLink) send(ctx context.Context, payload []byte) error {
	request, err := l.request(payload)
	if err != nil {
		return fmt.Errorf("post a reading: %w", err)
	}
	code, err := l.exchange(ctx, request)
	if err != nil {
		return fmt.Errorf("post a reading: %w", err)
	}
	if code != codes.Created {
		return fmt.Errorf("post a reading: answered %s", code)
	}
	return nil
}

func (l *coapLink) request(payload []byte) (message.Message, error) {
	token, err := message.GetToken()
	l.lastID++
	return message.Message{
		Type:      message.Confirmable,
		Code:      codes.POST,
		MessageID: int32(l.lastID),
		Token:     token,
		Options:   l.path,
		Payload:   payload,
	}, err
}

// exchange sends request until it is acknowledged, and returns the code of its response, which
// comes with the acknowledgement or in a message of its own (RFC 7252 §4.2, §5.2).
func (l *coapLink) exchange(ctx context.Context, request message.Message) (codes.Code, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) }) // a closed socket needs none
	defer stop()
	timeout := coapAckTimeout + time.Duration(coapRandomFactor*rand.Float64()*float64(coapAckTimeout))
	for range 1 + coapMaxRetransmit {
		if err := l.write(request); err != nil {
			return 0, err
		}
		code, err := l.response(ctx, request, time.Now().Add(timeout))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return code, err
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		timeout *= 2
	}
	return 0, errors.New("not acknowledged after all retransmissions")
}

// response waits for request's response. An empty acknowledgement says that there is one to
// come: from then on only ctx ends the wait.
func (l *coapLink) response(ctx context.Context, request message.Message, deadline time.Time) (codes.Code, error) {
	for {
		if err := l.conn.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
		if ctx.Err() != nil { // asked after the deadline was set, which may have undone the one ctx's end sets
			return 0, ctx.Err()
		}
		n, err := l.conn.Read(l.buffer[:])
		if err != nil {
			return 0, err
		}
		got := message.Message{Options: make(message.Options, 0, maxOptions)}
		if _, err := coder.DefaultCoder.Decode(l.buffer[:n], &got); err != nil {
			continue // not CoAP, so not the answer
		}
		acknowledges := got.Type == message.Acknowledgement && got.MessageID == request.MessageID
		switch {
		case got.Type == message.Reset && got.MessageID == request.MessageID:
			return 0, errors.New("reset by the platform")
		case acknowledges && got.Code == codes.Empty:
			deadline, _ = ctx.Deadline()
		case bytes.Equal(got.Token, request.Token) && (acknowledges || got.Type != message.Acknowledgement):
			return got.Code, l.acknowledge(got)
		}
	}
}

// acknowledge confirms a response that came in a message of its own.
func (l *coapLink) acknowledge(response message.Message) error {
	if response.Type != message.Confirmable {
		return nil
	}
	return l.write(message.Message{Type: message.Acknowledgement, Code: codes.Empty, MessageID: response.MessageID})
}

func (l *coapLink) write(m message.Message) error {
	var datagram [maxDatagram]byte
	n, err := coder.DefaultCoder.Encode(m, datagram[:])
	if err != nil {
		return err
	}
	_, err = l.conn.Write(datagram[:n])
	return err
}

func (l *coapLink) close() { _ = l.conn.Close() } // a socket without state at the other end
