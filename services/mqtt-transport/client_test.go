package mqtttransport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// patience is how long a test waits for what must happen; settle for what must not.
const (
	patience = 20 * time.Second
	settle   = 50 * time.Millisecond
)

const (
	v31  = 3
	v311 = 4
	v5   = 5
)

const (
	telemetryTopic = "v1/devices/me/telemetry"
	attributeTopic = "v1/devices/me/attributes"
)

// rig is a service on a transport whose bus and core the test controls.
type rig struct {
	*transporttest.Rig
	service *Service
	stop    func()
}

// start starts a service with the default settings, changed by change (may be nil). Its end is waited for.
func start(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{Rig: transporttest.Start(t, nil)}
	r.service, r.stop = serve(t, r.Transport, change)
	t.Cleanup(r.stop)
	return r
}

// serve runs a service on a free port; stop returns when it has drained, and may be called again.
func serve(t testing.TB, platform Platform, change func(*Config)) (s *Service, stop func()) {
	t.Helper()
	var c Config
	if err := settings.Defaults(&c, nil); err != nil {
		t.Fatal(err)
	}
	c.Listen = "127.0.0.1:0"
	if change != nil {
		change(&c)
	}
	s, err := New(c, platform, process.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("service: %v", err)
		}
	})
	return s, func() {
		cancel()
		running.Wait()
	}
}

// client speaks MQTT with a codec that is not ours. A failure of the connection is an error of
// the call; a test that wants none uses the must… methods.
type client struct {
	t       testing.TB
	conn    net.Conn
	in      *bufio.Reader
	version byte
	nextID  uint16
	early   []packets.Packet // messages that came before an acknowledgement that was waited for, or the other way round
}

func dial(t testing.TB, addr string, version byte) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn, version)
}

func newClient(t testing.TB, conn net.Conn, version byte) *client {
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, in: bufio.NewReader(conn), version: version}
}

// encode returns pk on the wire.
func encode(pk packets.Packet) ([]byte, error) {
	var b bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Puback:
		err = pk.PubackEncode(&b)
	case packets.Pubrel:
		err = pk.PubrelEncode(&b)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&b)
	case packets.Unsubscribe:
		err = pk.UnsubscribeEncode(&b)
	case packets.Pingreq:
		err = pk.PingreqEncode(&b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&b)
	default:
		err = fmt.Errorf("clients send no packet of type %d", pk.FixedHeader.Type)
	}
	return b.Bytes(), err
}

func (c *client) send(pk packets.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	b, err := encode(pk)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(b)
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next packet, io.EOF when the server closed the connection.
func (c *client) read(wait time.Duration) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: c.version}
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return pk, err
	}
	first, err := c.in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	length, _, err := packets.DecodeLength(c.in)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = length
	body := make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return pk, err
	}
	return pk, decode(&pk, body)
}

func decode(pk *packets.Packet, body []byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return pk.ConnackDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Pubrec:
		return pk.PubrecDecode(body)
	case packets.Pubcomp:
		return pk.PubcompDecode(body)
	case packets.Suback:
		return pk.SubackDecode(body)
	case packets.Unsuback:
		return pk.UnsubackDecode(body)
	case packets.Pingresp:
		return pk.PingrespDecode(body)
	case packets.Disconnect:
		return pk.DisconnectDecode(body)
	}
	return fmt.Errorf("servers send no packet of type %d", pk.FixedHeader.Type)
}

// expect reads a packet of that type. Messages and acknowledgements come in no order among each other: one that is waited for may
// follow one of the other kind, which is kept for later.
func (c *client) expect(kind byte) packets.Packet {
	c.t.Helper()
	if i := slices.IndexFunc(c.early, func(pk packets.Packet) bool { return pk.FixedHeader.Type == kind }); i >= 0 {
		pk := c.early[i]
		c.early = slices.Delete(c.early, i, i+1)
		return pk
	}
	pk, err := c.read(patience)
	for err == nil && (kind == packets.Puback && pk.FixedHeader.Type == packets.Publish || kind == packets.Publish && pk.FixedHeader.Type == packets.Puback) {
		c.early = append(c.early, pk)
		pk, err = c.read(patience)
	}
	if err != nil {
		c.t.Fatalf("waiting for a packet of type %d: %v", kind, err)
	}
	if pk.FixedHeader.Type != kind {
		c.t.Fatalf("packet of type %d (reason %#x), want %d", pk.FixedHeader.Type, pk.ReasonCode, kind)
	}
	return pk
}

// expectReason reads a packet of that type with that reason.
func (c *client) expectReason(kind, reason byte) {
	c.t.Helper()
	if pk := c.expect(kind); pk.ReasonCode != reason {
		c.t.Errorf("packet of type %d: reason %#x, want %#x", kind, pk.ReasonCode, reason)
	}
}

func (c *client) expectClosed() {
	c.t.Helper()
	pk, err := c.read(patience)
	if err == nil {
		c.t.Fatalf("packet of type %d (reason %#x), want the end", pk.FixedHeader.Type, pk.ReasonCode)
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection was not closed")
	}
}

// expectRefusal reads how a packet was refused that the connection does not survive: at v5
// DISCONNECT with the reason, then the end.
func (c *client) expectRefusal(reason byte) {
	c.t.Helper()
	if c.version == v5 {
		c.expectReason(packets.Disconnect, reason)
	}
	c.expectClosed()
}

// expectNothing checks that nothing comes for a while.
func (c *client) expectNothing() {
	c.t.Helper()
	if len(c.early) > 0 {
		c.t.Fatalf("packet of type %d on %q came, want nothing", c.early[0].FixedHeader.Type, c.early[0].TopicName)
	}
	pk, err := c.read(settle)
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		c.t.Fatalf("packet of type %d, error %v; want nothing", pk.FixedHeader.Type, err)
	}
}

// alive checks that the connection is served: it pings.
func (c *client) alive() {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp)
}

// hello is a CONNECT with these fields; "-" leaves username or password out.
func hello(clientID, username, password string) packets.Packet {
	p := packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: clientID, Clean: true}
	if username != "-" {
		p.UsernameFlag, p.Username = true, []byte(username)
	}
	if password != "-" {
		p.PasswordFlag, p.Password = true, []byte(password)
	}
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: p}
}

// connect sends pk and returns the answer's code.
func (c *client) connect(pk packets.Packet) byte {
	c.t.Helper()
	if c.version == v31 {
		pk.Connect.ProtocolName = []byte("MQIsdp")
	}
	c.send(pk)
	return c.expect(packets.Connack).ReasonCode
}

// login connects with a token.
func login(t testing.TB, addr string, version byte, token string) *client {
	t.Helper()
	c := dial(t, addr, version)
	if code := c.connect(hello("client", token, "-")); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	return c
}

// publish sends a PUBLISH and returns its packet identifier.
func (c *client) publish(qos byte, topic, payload string) uint16 {
	c.t.Helper()
	c.nextID++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, Payload: []byte(payload)}
	if qos > 0 {
		pk.PacketID = c.nextID
	}
	c.send(pk)
	return c.nextID
}

// acknowledged publishes at QoS 1 and checks that PUBACK 0 comes.
func (c *client) acknowledged(topic, payload string) {
	c.t.Helper()
	id := c.publish(1, topic, payload)
	if pk := c.expect(packets.Puback); pk.PacketID != id || pk.ReasonCode != 0 {
		c.t.Errorf("%s %.60s: PUBACK of %d with %#x, want of %d with 0", topic, payload, pk.PacketID, pk.ReasonCode, id)
	}
}

// subscribe subscribes to filters, all at that QoS, and returns the codes granted.
func (c *client) subscribe(qos byte, filters ...string) []byte {
	c.t.Helper()
	c.nextID++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: c.nextID}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	c.send(pk)
	return c.expect(packets.Suback).ReasonCodes
}

func (c *client) unsubscribe(filters ...string) []byte {
	c.t.Helper()
	c.nextID++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, PacketID: c.nextID}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
	}
	c.send(pk)
	return c.expect(packets.Unsuback).ReasonCodes
}

// textOf returns a telemetry payload of that many bytes.
func textOf(size int) string {
	return `{"text":"` + strings.Repeat("x", size-len(`{"text":""}`)) + `"}`
}
