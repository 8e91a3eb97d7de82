package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// MQTT publishes o.Payload with QoS 1 over MQTT 3.1.1, o.InFlight messages unacknowledged per
// connection. Its acknowledgements must come in the order of the messages [MQTT-4.6.0-2].
func MQTT(ctx context.Context, o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	clients := make([]client, o.Clients)
	for i := range clients {
		clients[i] = newMQTTClient(&o, i)
	}
	return run(ctx, o, clients)
}

// Idle opens o.Clients MQTT connections and returns what closes them. They send nothing.
func Idle(ctx context.Context, o Options) (closeAll func(), err error) {
	if o.Duration == 0 {
		o.Duration = time.Hour
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	var clients []*mqttClient
	closeAll = func() {
		for _, c := range clients {
			c.close()
		}
	}
	for i := range o.Clients {
		c := newMQTTClient(&o, i)
		if err := c.open(ctx); err != nil {
			closeAll()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		c.letGo()
		clients = append(clients, c)
	}
	return closeAll, nil
}

const (
	mqttPubackSize  = 4
	mqttPuback      = 0x40
	mqttPublishQoS1 = 0x32
)

type mqttClient struct {
	tally
	address  string
	connect  []byte
	publish  []byte // one PUBLISH; its packet id, at idAt, changes
	idAt     int
	timeAt   int   // where the payload's time stands; 0: nowhere
	time     int64 // of the next reading, ms
	inFlight int

	conn net.Conn
	out  []byte
	in   []byte
	// ring of the messages in flight, oldest at first: when each was sent. Packet id = place + 1.
	sent           []time.Time
	first, pending int
}

func newMQTTClient(o *Options, i int) *mqttClient {
	c := &mqttClient{
		address: o.Address, inFlight: o.InFlight, sent: make([]time.Time, o.InFlight),
		in: make([]byte, mqttPubackSize*max(o.InFlight, 16)),
	}
	token := o.Token(i)
	body := append(mqttText(nil, "MQTT"), 4, 0x82, 0, 0) // 3.1.1; user name, clean session; no keep-alive
	c.connect = mqttPacket(0x10, mqttText(mqttText(body, token), token))
	c.setPayload(o.Topic, o.Payload)
	return c
}

func (c *mqttClient) setPayload(topic string, payload []byte) {
	body := append(mqttText(nil, topic), 0, 0)
	c.publish = mqttPacket(mqttPublishQoS1, append(body, payload...))
	c.idAt = len(c.publish) - len(payload) - 2
	if bytes.HasPrefix(payload, []byte(timedPrefix)) {
		c.timeAt, c.time = c.idAt+2+len(timedPrefix), firstTime
	}
}

func mqttText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func mqttPacket(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

func (c *mqttClient) open(ctx context.Context) (err error) {
	var d net.Dialer
	if c.conn, err = d.DialContext(ctx, "tcp", c.address); err != nil {
		return err
	}
	if err := c.conn.SetDeadline(time.Now().Add(grace)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.connect); err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	var connack [4]byte
	if _, err := io.ReadFull(c.conn, connack[:]); err != nil {
		return fmt.Errorf("CONNACK: %w", err)
	}
	if connack != [4]byte{0x20, 2, 0, 0} {
		return fmt.Errorf("CONNACK % x", connack)
	}
	return c.conn.SetDeadline(time.Time{})
}

// letGo frees what an idle connection does not need.
func (c *mqttClient) letGo() { c.in, c.out, c.sent, c.publish, c.connect = nil, nil, nil, nil, nil }

func (c *mqttClient) run(b *budget) error {
	more, err := c.fill(b)
	held := 0
	for err == nil && (c.pending > 0 || more) {
		if c.pending == 0 {
			time.Sleep(pause)
		} else {
			var n int
			if n, err = c.conn.Read(c.in[held:]); err != nil {
				break
			}
			held += n
			whole := held - held%mqttPubackSize
			if err = c.acknowledge(c.in[:whole]); err != nil {
				break
			}
			held = copy(c.in, c.in[whole:held])
		}
		more, err = c.fill(b)
	}
	c.lost += c.pending
	if err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	return nil
}

// fill publishes as much as may be in flight.
func (c *mqttClient) fill(b *budget) (more bool, err error) {
	n, more := b.take(c.inFlight - c.pending)
	if n == 0 {
		return more, nil
	}
	now := time.Now()
	c.out = c.out[:0]
	for range n {
		place := (c.first + c.pending) % c.inFlight
		c.sent[place] = now
		start := len(c.out)
		c.out = append(c.out, c.publish...)
		binary.BigEndian.PutUint16(c.out[start+c.idAt:], uint16(place+1))
		if c.timeAt > 0 {
			strconv.AppendInt(c.out[:start+c.timeAt], c.time, 10) // in place: the digits are as many
			c.time++
		}
		c.pending++
	}
	_, err = c.conn.Write(c.out)
	return more, err
}

func (c *mqttClient) acknowledge(pubacks []byte) error {
	now := time.Now()
	for ; len(pubacks) > 0; pubacks = pubacks[mqttPubackSize:] {
		if pubacks[0] != mqttPuback || pubacks[1] != 2 {
			return fmt.Errorf("got % x instead of PUBACK", pubacks[:mqttPubackSize])
		}
		if c.pending == 0 || binary.BigEndian.Uint16(pubacks[2:]) != uint16(c.first+1) {
			return errors.New("PUBACK out of order")
		}
		c.latency.Add(now.Sub(c.sent[c.first]), 1)
		c.acknowledged++
		c.first = (c.first + 1) % c.inFlight
		c.pending--
	}
	return nil
}

func (c *mqttClient) close() {
	if c.conn != nil {
		// A client that goes without a word is a client all the same.
		_ = c.conn.Close()
	}
}

func (c *mqttClient) count() *tally { return &c.tally }
