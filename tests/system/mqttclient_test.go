package system

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// Types of MQTT packets.
const (
	mqttCONNACK     = 2
	mqttPUBLISH     = 3
	mqttPUBACK      = 4
	mqttSUBACK      = 9
	mqttUNSUBACK    = 11
	mqttPINGRESP    = 13
	mqttDISCONNECT  = 14
	mqttPatience    = 20 * time.Second
	mqttQuiet       = 200 * time.Millisecond
	mqtt311, mqtt5  = 4, 5
	mqttMaxReceived = 4 << 20
)

// mqttHello is what a client connects with. An empty user name is none.
type mqttHello struct {
	version                      byte // 3, 4 or 5; 0 is 4 (3.1.1)
	clientID, username, password string
	keepAlive                    uint16
	receiveMaximum               uint16      // MQTT 5; 0 is not said
	tls                          *tls.Config // nil: plain TCP
}

// mqttClient is a raw client of MQTT 3.1.1 and 5: it writes packets by hand and shares no code with the server. One goroutine's.
type mqttClient struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	version byte
	lastID  uint16
	// came are messages that were read while something else was waited for.
	came []mqttPacket
	// mute leaves messages at QoS 1 unacknowledged.
	mute bool
}

// mqttPacket is a packet of the server's.
type mqttPacket struct {
	kind, flags byte
	id          uint16
	topic       string // of PUBLISH
	payload     []byte
	reason      byte   // of CONNACK, PUBACK, DISCONNECT
	codes       []byte // of SUBACK, UNSUBACK
}

func (p mqttPacket) qos() byte       { return p.flags >> 1 & 3 }
func (p mqttPacket) duplicate() bool { return p.flags&8 != 0 }
func (p mqttPacket) String() string {
	return fmt.Sprintf("type %d %s %q reason %#x codes % x", p.kind, p.topic, p.payload, p.reason, p.codes)
}

// mqttOpen connects to address and returns what CONNACK says; the client is closed at the test's end.
func mqttOpen(t testing.TB, address string, h mqttHello) (c *mqttClient, code byte) {
	t.Helper()
	c, p, err := mqttTry(t, address, h)
	if err != nil {
		t.Fatal(err)
	}
	return c, p.reason
}

// mqttTry is mqttOpen for connections that may end without CONNACK.
func mqttTry(t testing.TB, address string, h mqttHello) (*mqttClient, mqttPacket, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, mqttPatience)
	if err != nil {
		t.Fatal(err)
	}
	if h.tls != nil {
		conn = tls.Client(conn, h.tls)
	}
	t.Cleanup(func() { conn.Close() })
	if h.version == 0 {
		h.version = mqtt311
	}
	c := &mqttClient{t: t, conn: conn, in: bufio.NewReader(conn), version: h.version}
	if _, err := conn.Write(h.packet()); err != nil {
		return c, mqttPacket{}, err
	}
	p, err := c.read(mqttPatience)
	if err == nil && p.kind != mqttCONNACK {
		err = fmt.Errorf("CONNECT was answered by %v", p)
	}
	return c, p, err
}

// mqttConnect is mqttOpen that must be accepted.
func mqttConnect(t testing.TB, address string, h mqttHello) *mqttClient {
	t.Helper()
	c, code := mqttOpen(t, address, h)
	if code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	return c
}

func (h mqttHello) packet() []byte {
	flags := byte(2) // clean
	name := "MQTT"
	if h.version == 3 {
		name = "MQIsdp"
	}
	tail := mqttText(nil, h.clientID)
	if h.username != "" {
		flags |= 0x80
		tail = mqttText(tail, h.username)
	}
	if h.password != "" {
		flags |= 0x40
		tail = mqttText(tail, h.password)
	}
	body := append(mqttText(nil, name), h.version, flags)
	body = binary.BigEndian.AppendUint16(body, h.keepAlive)
	if h.version == mqtt5 {
		properties := []byte(nil)
		if h.receiveMaximum > 0 {
			properties = binary.BigEndian.AppendUint16([]byte{0x21}, h.receiveMaximum)
		}
		body = append(append(body, byte(len(properties))), properties...)
	}
	return mqttFrame(0x10, append(body, tail...))
}

func mqttText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// mqttFrame puts a fixed header before body.
func mqttFrame(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

func (c *mqttClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *mqttClient) newID() uint16 {
	if c.lastID++; c.lastID == 0 {
		c.lastID = 1
	}
	return c.lastID
}

// noProperties ends the variable header of what has properties in MQTT 5.
func (c *mqttClient) noProperties(b []byte) []byte {
	if c.version == mqtt5 {
		b = append(b, 0)
	}
	return b
}

// send publishes and waits for nothing. It returns the packet's id, 0 at QoS 0.
func (c *mqttClient) send(qos byte, topic string, payload []byte) (id uint16) {
	c.t.Helper()
	body := mqttText(nil, topic)
	if qos > 0 {
		id = c.newID()
		body = binary.BigEndian.AppendUint16(body, id)
	}
	c.write(mqttFrame(0x30|qos<<1, append(c.noProperties(body), payload...)))
	return id
}

// publish publishes at QoS 1 and returns the reason of its PUBACK (0 before MQTT 5).
func (c *mqttClient) publish(topic, payload string) (reason byte) {
	c.t.Helper()
	id := c.send(1, topic, []byte(payload))
	p := c.await(mqttPUBACK)
	if p.id != id {
		c.t.Fatalf("PUBACK of %d, want %d", p.id, id)
	}
	return p.reason
}

// subscribe asks for filters, all at that QoS, and returns SUBACK's codes.
func (c *mqttClient) subscribe(qos byte, filters ...string) []byte {
	c.t.Helper()
	body := c.noProperties(binary.BigEndian.AppendUint16(nil, c.newID()))
	for _, filter := range filters {
		body = append(mqttText(body, filter), qos)
	}
	c.write(mqttFrame(0x82, body))
	return c.await(mqttSUBACK).codes
}

// unsubscribe returns UNSUBACK's codes: none before MQTT 5.
func (c *mqttClient) unsubscribe(filters ...string) []byte {
	c.t.Helper()
	body := c.noProperties(binary.BigEndian.AppendUint16(nil, c.newID()))
	for _, filter := range filters {
		body = mqttText(body, filter)
	}
	c.write(mqttFrame(0xa2, body))
	return c.await(mqttUNSUBACK).codes
}

// ping fails the test unless the connection is served.
func (c *mqttClient) ping() {
	c.t.Helper()
	c.write([]byte{0xc0, 0})
	c.await(mqttPINGRESP)
}

// leave says DISCONNECT and closes.
func (c *mqttClient) leave() {
	c.t.Helper()
	c.write([]byte{0xe0, 0})
	c.conn.Close()
}

// await returns the next packet that is no message; messages are kept for message.
func (c *mqttClient) await(kind byte) mqttPacket {
	c.t.Helper()
	for {
		p, err := c.read(mqttPatience)
		switch {
		case err != nil:
			c.t.Fatalf("waiting for a packet of type %d: %v", kind, err)
		case p.kind == mqttPUBLISH:
			c.came = append(c.came, p)
		case p.kind != kind:
			c.t.Fatalf("waiting for a packet of type %d: %v", kind, p)
		default:
			return p
		}
	}
}

// next returns the next message; ok is false when none comes in time.
func (c *mqttClient) next(wait time.Duration) (p mqttPacket, ok bool) {
	c.t.Helper()
	if len(c.came) > 0 {
		p, c.came = c.came[0], c.came[1:]
		return p, true
	}
	p, err := c.read(wait)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return p, false
	}
	if err != nil || p.kind != mqttPUBLISH {
		c.t.Fatalf("waiting for a message: %v %v", p, err)
	}
	return p, true
}

// message returns the next message, which must be on topic ("" is any).
func (c *mqttClient) message(topic string) mqttPacket {
	c.t.Helper()
	p, ok := c.next(mqttPatience)
	if !ok || topic != "" && p.topic != topic {
		c.t.Fatalf("waiting for a message on %s: %v %v", topic, p, ok)
	}
	return p
}

// silent fails the test when a message comes.
func (c *mqttClient) silent() {
	c.t.Helper()
	if p, ok := c.next(mqttQuiet); ok {
		c.t.Fatalf("a message came: %v", p)
	}
}

// closed waits for the server to close and returns why: the reason of DISCONNECT in MQTT 5, 0 without any. Messages are dropped;
// any other packet fails the test.
func (c *mqttClient) closed() (reason byte) {
	c.t.Helper()
	for {
		p, err := c.read(mqttPatience)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.t.Fatal("the connection stays open")
		case err != nil:
			return reason
		case p.kind == mqttDISCONNECT:
			reason = p.reason
		case p.kind != mqttPUBLISH:
			c.t.Fatalf("waiting for the end: %v", p)
		}
	}
}

// acknowledge sends the PUBACK of p.
func (c *mqttClient) acknowledge(p mqttPacket) {
	c.t.Helper()
	c.write(mqttFrame(0x40, binary.BigEndian.AppendUint16(nil, p.id)))
}

// read returns the server's next packet. Messages at QoS 1 are acknowledged unless the client is mute.
func (c *mqttClient) read(wait time.Duration) (p mqttPacket, err error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return p, err
	}
	first, err := c.in.ReadByte()
	if err != nil {
		return p, err
	}
	length, err := binary.ReadUvarint(c.in)
	if err != nil {
		return p, err
	}
	if length > mqttMaxReceived {
		return p, fmt.Errorf("a packet of %d bytes", length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return p, err
	}
	p = mqttPacket{kind: first >> 4, flags: first & 15}
	if err := p.parse(c.version, body); err != nil {
		return p, err
	}
	if p.kind == mqttPUBLISH && p.qos() == 1 && !c.mute {
		c.acknowledge(p)
	}
	return p, nil
}

// parse reads a body; properties are skipped.
func (p *mqttPacket) parse(version byte, body []byte) error {
	in := bytes.NewBuffer(body)
	if p.kind == mqttPUBLISH {
		p.topic = string(in.Next(int(binary.BigEndian.Uint16(in.Next(2)))))
	}
	if p.kind == mqttPUBLISH && p.qos() > 0 || p.kind == mqttPUBACK || p.kind == mqttSUBACK || p.kind == mqttUNSUBACK {
		p.id = binary.BigEndian.Uint16(in.Next(2))
	}
	switch p.kind {
	case mqttCONNACK:
		in.Next(1) // session present
	case mqttPUBLISH, mqttSUBACK, mqttUNSUBACK:
	default:
		if in.Len() > 0 {
			p.reason, _ = in.ReadByte()
		}
		return nil
	}
	if p.kind == mqttCONNACK {
		p.reason, _ = in.ReadByte()
		return nil
	}
	if version == mqtt5 {
		length, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		in.Next(int(length))
	}
	if p.payload = in.Bytes(); p.kind != mqttPUBLISH {
		p.codes, p.payload = p.payload, nil
	}
	return nil
}
