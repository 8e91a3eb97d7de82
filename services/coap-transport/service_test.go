package coaptransport

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance holds CoAP to what every device protocol promises.
func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{
		Transport: "COAP",
		Start: func(t *testing.T, tr *transport.Transport) (transporttest.Client, func()) {
			s, stop := start(t, tr, nil)
			return client{s.Addr()}, stop
		},
		Oversize:   9000,
		Attributes: true,
	})
}

// start runs a service on a free port; stop returns when it has drained.
func start(t testing.TB, platform Platform, change func(*Config)) (s *Service, stop func()) {
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

// client speaks CoAP to a service, one socket per request.
type client struct{ addr string }

func (c client) Upload(ctx context.Context, u transporttest.Upload) transporttest.Outcome {
	feature := "telemetry"
	if u.Attributes {
		feature = "attributes"
	}
	m, ok := c.do(ctx, confirmable(packet.Post, path("api", "v1", u.Token, feature), []byte(u.Payload)))
	return outcome(m, ok)
}

func (c client) ReadAttributes(ctx context.Context, token string, clientKeys, sharedKeys []string) (string, transporttest.Outcome) {
	o := path("api", "v1", token, "attributes")
	o = append(o, query("clientKeys", clientKeys), query("sharedKeys", sharedKeys))
	m, ok := c.do(ctx, confirmable(packet.Get, o, nil))
	return string(m.Payload), outcome(m, ok)
}

func outcome(m packet.Message, ok bool) transporttest.Outcome {
	if !ok {
		return transporttest.Unanswered
	}
	switch m.Code {
	case packet.Created, packet.Content:
		return transporttest.Acknowledged
	case packet.Unauthorized:
		return transporttest.Unknown
	case packet.BadRequest:
		return transporttest.Malformed
	case packet.TooLarge:
		return transporttest.TooLarge
	case packet.TooManyRequests:
		return transporttest.Limited
	case packet.ServiceUnavailable, packet.GatewayTimeout:
		return transporttest.Unavailable
	}
	return transporttest.Unanswered
}

// do sends one request and returns its response, separate or not, acknowledging what asks for it.
func (c client) do(ctx context.Context, datagram []byte) (packet.Message, bool) {
	conn, err := net.Dial("udp", c.addr)
	if err != nil {
		return packet.Message{}, false
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return packet.Message{}, false
		}
	}
	if _, err := conn.Write(datagram); err != nil {
		return packet.Message{}, false
	}
	buffer := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return packet.Message{}, false
		}
		m, err := packet.Parse(buffer[:n])
		if err != nil {
			return packet.Message{}, false
		}
		if m.Code == packet.Empty {
			continue // the acknowledgement of what takes long
		}
		if m.Type == packet.Confirmable {
			_, _ = conn.Write(packet.AppendHeader(nil, packet.Acknowledgement, packet.Empty, m.ID, nil))
		}
		return m, true
	}
}

// exchangeOn sends datagram on conn and returns the datagram that comes back; false: none within wait.
func exchangeOn(t testing.TB, conn net.Conn, datagram []byte, wait time.Duration) ([]byte, bool) {
	t.Helper()
	if _, err := conn.Write(datagram); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1<<16)
	n, err := conn.Read(buffer)
	if err != nil {
		return nil, false
	}
	return buffer[:n], true
}

func dial(t testing.TB, s *Service) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
