package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Answering is a device that answers every request of the platform with {"ok":true}, over MQTT 3.1.1.
type Answering struct {
	conn  net.Conn
	ended sync.WaitGroup
	err   error // why it ended before Close; only once it has
}

const (
	requestTopic = "v1/devices/me/rpc/request/"
	replyTopic   = "v1/devices/me/rpc/response/"
	answer       = `{"ok":true}`
)

// Answer connects a device and subscribes to requests; it answers until Close.
func Answer(ctx context.Context, address, token string) (*Answering, error) {
	o := Options{Address: address, Clients: 1, Duration: time.Hour, Token: func(int) string { return token }}
	if err := o.check(); err != nil {
		return nil, err
	}
	c := newMQTTClient(&o, 0)
	if err := c.open(ctx); err != nil {
		c.close()
		return nil, err
	}
	a := &Answering{conn: c.conn}
	in := bufio.NewReaderSize(c.conn, 1024)
	if err := subscribe(c.conn, in, requestTopic+"+"); err != nil {
		c.close()
		return nil, err
	}
	a.ended.Go(func() { a.err = a.serve(in) })
	return a, nil
}

// subscribe asks for one filter with QoS 1 and waits for the answer.
func subscribe(conn net.Conn, in *bufio.Reader, filter string) error {
	if _, err := conn.Write(mqttPacket(0x82, append(mqttText([]byte{0, 1}, filter), 1))); err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", err)
	}
	kind, body, err := readMQTT(in)
	if err != nil {
		return fmt.Errorf("SUBACK: %w", err)
	}
	if kind != 0x90 || len(body) != 3 || body[2] != 1 {
		return fmt.Errorf("SUBACK %x % x", kind, body)
	}
	return nil
}

// readMQTT reads one packet.
func readMQTT(in *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = in.ReadByte(); err != nil {
		return 0, nil, err
	}
	body, err = readBody(in, nil)
	return kind, body, err
}

// readBody reads what follows a packet's first byte, into room if there is enough.
func readBody(in *bufio.Reader, room []byte) ([]byte, error) {
	length, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, err
	}
	if length > 1<<20 {
		return nil, fmt.Errorf("a packet of %d bytes", length)
	}
	body := slices.Grow(room[:0], int(length))[:length]
	_, err = io.ReadFull(in, body)
	return body, err
}

// serve acknowledges and answers requests until the connection ends.
func (a *Answering) serve(in *bufio.Reader) error {
	var body, out []byte // used again
	id := uint16(0)
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return err
		}
		if body, err = readBody(in, body); err != nil {
			return err
		}
		if kind&0xf0 != 0x30 {
			continue // the platform acknowledges an answer
		}
		if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
			return errors.New("a PUBLISH without a topic")
		}
		name := body[2 : 2+binary.BigEndian.Uint16(body)]
		request, ok := bytes.CutPrefix(name, []byte(requestTopic))
		if !ok {
			return fmt.Errorf("a PUBLISH to %s", name)
		}
		out = out[:0]
		if kind&0x06 != 0 {
			rest := body[2+len(name):]
			if len(rest) < 2 {
				return errors.New("a PUBLISH without a packet id")
			}
			out = append(out, mqttPuback, 2, rest[0], rest[1])
		}
		if id++; id == 0 {
			id = 1
		}
		out = binary.AppendUvarint(append(out, mqttPublishQoS1), uint64(2+len(replyTopic)+len(request)+2+len(answer)))
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(replyTopic)+len(request))), replyTopic...)
		out = append(binary.BigEndian.AppendUint16(append(out, request...), id), answer...)
		if _, err := a.conn.Write(out); err != nil {
			return err
		}
	}
}

// Wait returns why the connection ended, once it has.
func (a *Answering) Wait() error {
	a.ended.Wait()
	return a.err
}

// Close ends the connection. The error is why it had ended before.
func (a *Answering) Close() error {
	err := a.conn.Close()
	a.ended.Wait()
	if !errors.Is(a.err, net.ErrClosed) {
		return a.err
	}
	return err
}
