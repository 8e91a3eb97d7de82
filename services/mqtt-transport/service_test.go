package mqtttransport

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance holds MQTT 5 over TCP to what every device protocol promises.
func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{
		Transport: "MQTT",
		Start: func(t *testing.T, tr *transport.Transport) (transporttest.Client, func()) {
			s, stop := serve(t, tr, nil)
			return uploader{t: t, addr: s.Addr()}, stop
		},
		Oversize:   70000,
		Attributes: true,
	})
}

// uploader connects for every request.
type uploader struct {
	t    *testing.T
	addr string
}

func (u uploader) Upload(ctx context.Context, up transporttest.Upload) transporttest.Outcome {
	topic := telemetryTopic
	if up.Attributes {
		topic = attributeTopic
	}
	_, outcome := u.do(ctx, up.Token, topic, up.Payload, packets.Puback)
	return outcome
}

func (u uploader) ReadAttributes(ctx context.Context, token string, clientKeys, sharedKeys []string) (string, transporttest.Outcome) {
	request := `{"clientKeys":"` + strings.Join(clientKeys, ",") + `","sharedKeys":"` + strings.Join(sharedKeys, ",") + `"}`
	answer, outcome := u.do(ctx, token, "v1/devices/me/attributes/request/1", request, packets.Publish)
	return string(answer.Payload), outcome
}

// do publishes on a connection of its own and reads until a packet of the kind, or a refusal, comes.
func (u uploader) do(ctx context.Context, token, topic, payload string, kind byte) (packets.Packet, transporttest.Outcome) {
	deadline, _ := ctx.Deadline()
	conn, err := net.Dial("tcp", u.addr)
	if err != nil {
		return packets.Packet{}, transporttest.Unanswered
	}
	c := newClient(u.t, conn, v5)
	defer conn.Close()
	for _, pk := range []packets.Packet{hello("", token, "-"), {
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 1, TopicName: topic, Payload: []byte(payload),
	}} {
		pk.ProtocolVersion = v5
		b, err := encode(pk)
		if err != nil {
			return packets.Packet{}, transporttest.Unanswered
		}
		if _, err := conn.Write(b); err != nil {
			break // refused already: the reason is there to be read
		}
	}
	for {
		pk, err := c.read(time.Until(deadline))
		if err != nil {
			return pk, transporttest.Unanswered
		}
		if outcome := outcomeOf(pk); pk.FixedHeader.Type == kind || outcome != transporttest.Acknowledged {
			return pk, outcome
		}
	}
}

func outcomeOf(pk packets.Packet) transporttest.Outcome {
	closed := pk.FixedHeader.Type == packets.Disconnect
	switch {
	case pk.ReasonCode == 0x95:
		return transporttest.TooLarge
	case pk.ReasonCode == 0x99:
		return transporttest.Malformed
	case pk.ReasonCode == 0x86:
		return transporttest.Unknown
	case pk.ReasonCode == 0x83 && closed:
		return transporttest.Limited
	case pk.ReasonCode == 0x83, pk.ReasonCode == 0x88, pk.ReasonCode == 0x8B:
		return transporttest.Unavailable
	case closed || pk.ReasonCode >= 0x80:
		return transporttest.Unanswered
	}
	return transporttest.Acknowledged
}

func TestWebSocket(t *testing.T) {
	r := start(t, func(c *Config) { c.WebSocket = "127.0.0.1:0" })
	r.Core.AddDevice("T")
	web := httptest.NewServer(r.service.Handler())
	defer web.Close()
	for name, url := range map[string]string{
		"handler": web.URL + "/mqtt", "listener": "http://" + r.service.WebSocketAddr() + "/mqtt",
	} {
		t.Run(name, func(t *testing.T) {
			c := dialWebSocket(t, url, v5)
			if code := c.connect(hello("", "T", "-")); code != 0 {
				t.Fatalf("CONNACK %#x", code)
			}
			c.acknowledged(telemetryTopic, textOf(20000))
			r.Bus.Hold()
			for range 5 {
				c.publish(1, telemetryTopic, `{"t":1}`)
			}
			c.alive()
			r.Bus.Release(nil)
			for range 5 {
				c.expectReason(packets.Puback, 0)
			}
			second := dialWebSocket(t, url, v5)
			second.connect(hello("", "T", "-"))
			c.expectRefusal(0x8E)
			second.publish(1, "a/#", `{}`)
			second.expectRefusal(0x81)
			dialWebSocket(t, url, v311).connect(hello("", "wrong", "-"))
		})
	}
}

// TestWebSocketBytewise: packets need not be aligned with WebSocket messages.
func TestWebSocketBytewise(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	web := httptest.NewServer(r.service.Handler())
	defer web.Close()
	c := dialWebSocket(t, web.URL, v311)
	pk := hello("", "T", "-")
	pk.ProtocolVersion = v311
	b, err := encode(pk)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		c.write(b[i : i+1])
	}
	c.expectReason(packets.Connack, 0)
	c.alive()
}

func TestWebSocketRefusals(t *testing.T) {
	r := start(t, nil)
	web := httptest.NewServer(r.service.Handler())
	defer web.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	plain, _, err := websocket.Dial(ctx, web.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := plain.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("without the subprotocol: %v", err)
	}
	text, _, err := websocket.Dial(ctx, web.URL, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := text.Write(ctx, websocket.MessageText, []byte("\x10")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := text.Read(ctx); err == nil {
		t.Error("a text message was accepted")
	}
}

func dialWebSocket(t *testing.T, url string, version byte) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, websocket.NetConn(context.Background(), socket, websocket.MessageBinary), version)
}

// TestDrain: what is in flight is answered, every client is told, and nothing more is taken on.
func TestDrain(t *testing.T) {
	r := start(t, nil)
	r.Core.AddDevice("T")
	r.Core.AddDevice("IDLE")
	r.Core.AddDevice("OLD")
	busy, idle := login(t, r.service.Addr(), v5, "T"), login(t, r.service.Addr(), v5, "IDLE")
	old, silent := login(t, r.service.Addr(), v311, "OLD"), dial(t, r.service.Addr(), v311)
	r.Bus.Hold()
	busy.publish(1, telemetryTopic, `{"t":1}`)
	r.AwaitHeld(t, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	idle.expectRefusal(0x9C)
	old.expectClosed()
	silent.expectClosed()
	busy.publish(1, telemetryTopic, `{"t":2}`)
	busy.expectNothing()
	r.Bus.Release(nil)
	busy.expectReason(packets.Puback, 0)
	busy.expectRefusal(0x9C)
	<-stopped
	r.Uplinks(t, 1)
	if _, err := net.Dial("tcp", r.service.Addr()); err == nil {
		t.Error("a stopped service still accepts")
	}
}

// TestDrainTimeout: a bus that never answers does not keep the service from stopping.
func TestDrainTimeout(t *testing.T) {
	r := start(t, func(c *Config) { c.DrainTimeout = 100 * time.Millisecond })
	r.Core.AddDevice("T")
	c := login(t, r.service.Addr(), v311, "T")
	r.Bus.Hold()
	c.publish(1, telemetryTopic, `{"t":1}`)
	r.AwaitHeld(t, 1)
	r.stop()
	c.expectClosed()
}

func TestSettingsThatCannotWork(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.InFlight = 0 },
		func(c *Config) { c.Connections = 0 },
		func(c *Config) { c.PacketBytes = 1 << 28 },
		func(c *Config) { c.DrainRate = 0 },
		func(c *Config) { c.DrainReason = "tired" },
		func(c *Config) { c.Listen = "nowhere:nothing" },
		func(c *Config) { c.WebSocket = "nowhere:nothing" },
		func(c *Config) { c.TLSListen = "127.0.0.1:0" },
		func(c *Config) { c.TLSCertificates = "/nowhere" },
		func(c *Config) { c.TLSListen, c.TLSCertificates = "127.0.0.1:0", "/nowhere" },
		func(c *Config) { c.ProxyTrusted = []string{"haproxy"} },
	} {
		var c Config
		if err := settings.Defaults(&c, nil); err != nil {
			t.Fatal(err)
		}
		c.Listen = "127.0.0.1:0"
		change(&c)
		if _, err := New(c, nil, process.Env{}); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
