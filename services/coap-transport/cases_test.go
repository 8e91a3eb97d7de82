package coaptransport

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// scene is a running service with one device, T.
type scene struct {
	*transporttest.Rig
	*Service
	client
	device *transporttest.Device
}

func newScene(t *testing.T, change func(*Config)) *scene {
	t.Helper()
	rig := transporttest.Start(t, nil)
	device := rig.Core.AddDevice("T")
	s, stop := start(t, rig.Transport, change)
	t.Cleanup(stop)
	return &scene{rig, s, client{s.Addr()}, device}
}

func (s *scene) request(t *testing.T, datagram []byte) packet.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m, ok := s.do(ctx, datagram)
	if !ok {
		t.Fatalf("no answer to % x", datagram)
	}
	return m
}

func optionsOf(m packet.Message) map[packet.Option]uint32 {
	all := map[packet.Option]uint32{}
	for o, value := range m.Options.All() {
		all[o], _ = packet.Uint(value)
	}
	return all
}

func TestC01PostTelemetry(t *testing.T) {
	s := newScene(t, nil)
	m := s.request(t, confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`)))
	if m.Type != packet.Acknowledgement || m.Code != packet.Created || !bytes.Equal(m.Token, testToken) || len(m.Payload) != 0 {
		t.Errorf("answered %+v, want a piggybacked 2.01", m)
	}
	uplink := s.Uplinks(t, 1)[0]
	if uplink.Device != s.device.ID || uplink.Telemetry[0].Values[0] != (telemetry.KeyValue{Key: "t", Value: telemetry.OfLong(1)}) {
		t.Errorf("uplink %+v", uplink)
	}
}

func TestC04ReadAttributes(t *testing.T) {
	s := newScene(t, nil)
	s.Core.Change(func() {
		s.device.Client = []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}}
		s.device.Shared = []telemetry.KeyValue{{Key: "c", Value: telemetry.OfDouble(42)}}
	})
	of := path("api", "v1", "T", "attributes")
	for _, c := range []struct {
		name    string
		options []option
		code    packet.Code
		payload string
	}{
		{"named", append(slices.Clone(of), query("clientKeys", []string{"a"})), packet.Content, `{"client":{"a":1}}`},
		{"missing", append(slices.Clone(of), query("clientKeys", []string{"b"})), packet.NotFound, ""},
		{"all", of, packet.Content, `{"client":{"a":1},"shared":{"c":42.0}}`},
		{"as JSON", append(slices.Clone(of), number(packet.Accept, 50)), packet.Content, `{"client":{"a":1},"shared":{"c":42.0}}`},
		{"as CBOR", append(slices.Clone(of), number(packet.Accept, 60)), packet.NotAcceptable, ""},
		{"in small blocks", append(slices.Clone(of), number(packet.Block2, 0)), packet.Content, `{"client":{"a":1}`[:16]},
		{"in large blocks", append(slices.Clone(of), number(packet.Block2, 6)), packet.Content, `{"client":{"a":1},"shared":{"c":42.0}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := s.request(t, confirmable(packet.Get, c.options, nil))
			if m.Code != c.code || string(m.Payload) != c.payload {
				t.Errorf("%s %s, want %s %s", m.Code, m.Payload, c.code, c.payload)
			}
			if format, ok := optionsOf(m)[packet.ContentFormat]; ok != (c.code == packet.Content) || ok && format != 50 {
				t.Errorf("content format %d, %v", format, ok)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := newScene(t, nil)
	s.Core.Add(&transporttest.Device{ID: s.device.ID, Tenant: s.device.Tenant, Token: "M", TransportType: "MQTT"})
	good := path("api", "v1", "T", "telemetry")
	with := func(o option) []option { return append(slices.Clone(good), o) }
	before := func(o option) []option { return append([]option{o}, good...) }
	body := []byte(`{"t":1}`)
	for _, c := range []struct {
		name    string
		code    packet.Code
		options []option
		payload []byte
		want    packet.Code
	}{
		{"C02 unknown token", packet.Post, path("api", "v1", "WRONG", "telemetry"), body, packet.Unauthorized},
		{"C02 token missing", packet.Post, path("api", "v1", "telemetry"), body, packet.Unauthorized},
		{"C03 bad payload", packet.Post, good, []byte(`x{`), packet.BadRequest},
		{"C03 no payload", packet.Post, good, nil, packet.BadRequest},
		{"C09 GET telemetry", packet.Get, good, nil, packet.BadRequest},
		{"C09 PUT", packet.Put, good, body, packet.MethodNotAllowed},
		{"C09 DELETE", packet.Delete, good, nil, packet.MethodNotAllowed},
		{"C09 unknown feature", packet.Post, path("api", "v1", "T", "unknown"), body, packet.BadRequest},
		{"C10 profile of another transport", packet.Post, path("api", "v1", "M", "telemetry"), body, packet.InternalServerError},
		{"no feature", packet.Post, path("api", "v1"), body, packet.BadRequest},
		{"unknown root", packet.Post, path("nothing"), body, packet.NotFound},
		{"no path", packet.Get, nil, nil, packet.NotFound},
		{"endless path", packet.Post, path("a", "b", "c", "d", "e", "f", "g"), body, packet.BadOption},
		{"POST firmware", packet.Post, path("fw", "T"), nil, packet.MethodNotAllowed},
		{"no firmware", packet.Get, path("fw", "T"), nil, packet.NotFound},
		{"GET rpc", packet.Get, path("api", "v1", "T", "rpc"), nil, packet.BadRequest},
		{"GET claim", packet.Get, path("api", "v1", "T", "claim"), nil, packet.BadRequest},
		{"GET provision", packet.Get, path("api", "v1", "provision"), nil, packet.BadRequest},
		{"reply no object", packet.Post, path("api", "v1", "T", "rpc", "5"), []byte(`[1]`), packet.BadRequest},
		{"reply no JSON", packet.Post, path("api", "v1", "T", "rpc", "5"), []byte(`{`), packet.BadRequest},
		{"reply to nothing", packet.Post, path("api", "v1", "T", "rpc", "x"), body, packet.BadRequest},
		{"call without method", packet.Post, path("api", "v1", "T", "rpc"), []byte(`{"params":{}}`), packet.BadRequest},
		{"claim malformed", packet.Post, path("api", "v1", "T", "claim"), []byte(`{"secretKey":1}`), packet.BadRequest},
		{"provision malformed", packet.Post, path("api", "v1", "provision"), []byte(`{"deviceName":"d"}`), packet.BadRequest},
		{"unknown critical option", packet.Post, with(option{packet.Option(2049), nil}), body, packet.BadOption},
		{"unknown elective option", packet.Post, with(option{packet.Option(2048), nil}), body, packet.Created},
		{"host and port", packet.Post, before(option{packet.URIHost, []byte("h")}), body, packet.Created},
		{"proxy", packet.Post, with(option{packet.ProxyURI, []byte("coap://h")}), body, packet.ProxyingNotSupported},
		{"one block", packet.Post, with(number(packet.Block1, 6)), body, packet.Created},
		{"first of many blocks", packet.Post, with(number(packet.Block1, 8|6)), bytes.Repeat([]byte{' '}, 1024), packet.Continue},
		{"first block not full", packet.Post, with(number(packet.Block1, 8|6)), body, packet.Incomplete},
		{"second block", packet.Post, with(number(packet.Block1, 3<<4|6)), body, packet.Incomplete},
		{"payload too large", packet.Post, good, bytes.Repeat([]byte{'x'}, 8193), packet.TooLarge},
		{"datagram cut", packet.Post, good, bytes.Repeat([]byte{'x'}, 30000), packet.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := s.request(t, confirmable(c.code, c.options, c.payload))
			if m.Code != c.want {
				t.Fatalf("%s %s, want %s", m.Code, m.Payload, c.want)
			}
			if size := optionsOf(m)[packet.Size1]; c.want == packet.TooLarge && size != 262144 {
				t.Errorf("Size1 %d", size)
			}
			if _, echoed := optionsOf(m)[packet.Block1]; c.name == "one block" && !echoed {
				t.Error("Block1 is not in the answer")
			}
		})
	}
}

func TestC18NonConfirmable(t *testing.T) {
	s := newScene(t, nil)
	m := s.request(t, message(packet.NonConfirmable, packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`)))
	if m.Type != packet.NonConfirmable || m.Code != packet.Created || !bytes.Equal(m.Token, testToken) {
		t.Errorf("answered %+v", m)
	}
}

func TestC19WholePathInOneOption(t *testing.T) {
	s := newScene(t, nil)
	for _, whole := range []string{"api/v1/T/telemetry", "/api/v1/T/telemetry", "api/v1/T/Telemetry"} {
		m := s.request(t, confirmable(packet.Post, path(whole), []byte(`{"t":1}`)))
		if m.Code != packet.Created {
			t.Errorf("%s: %s", whole, m.Code)
		}
	}
	s.Uplinks(t, 3)
}

func TestRetransmissionIsStoredOnce(t *testing.T) {
	s := newScene(t, nil)
	conn := dial(t, s.Service)
	d := confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`))
	first, ok := exchangeOn(t, conn, d, 5*time.Second)
	again, okAgain := exchangeOn(t, conn, d, 5*time.Second)
	if !ok || !okAgain || !bytes.Equal(first, again) {
		t.Errorf("first % x (%v), then % x (%v)", first, ok, again, okAgain)
	}
	s.Uplinks(t, 1)
}

// TestSlowBus: what takes long is acknowledged without a response, which follows when the bus
// has decided.
func TestSlowBus(t *testing.T) {
	for _, c := range []struct {
		outcome error
		want    packet.Code
	}{{nil, packet.Created}, {bus.ErrDeadline, packet.ServiceUnavailable}} {
		s := newScene(t, func(c *Config) { c.PiggybackTimeout = 20 * time.Millisecond })
		s.Bus.Hold()
		conn := dial(t, s.Service)
		got, ok := exchangeOn(t, conn, confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`)), 5*time.Second)
		if m, err := packet.Parse(got); !ok || err != nil || m.Type != packet.Acknowledgement || m.Code != packet.Empty {
			t.Fatalf("got % x, want an empty acknowledgement", got)
		}
		s.Bus.Release(c.outcome)
		buffer := make([]byte, 100)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		m, err := packet.Parse(buffer[:n])
		if err != nil || m.Type != packet.Confirmable || m.Code != c.want || !bytes.Equal(m.Token, testToken) {
			t.Errorf("separate response %+v, %v; want %s", m, err, c.want)
		}
		if _, retry := optionsOf(m)[packet.MaxAge]; retry != (c.outcome != nil) {
			t.Errorf("%s with Max-Age %v", m.Code, retry)
		}
	}
}

// TestUnknownDeviceHoldsUpNobody: while the core is asked about one device, others are served.
func TestUnknownDeviceHoldsUpNobody(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Waiting = 1; c.PiggybackTimeout = time.Minute })
	post := func(token string) []byte {
		return confirmable(packet.Post, path("api", "v1", token, "telemetry"), []byte(`{"t":1}`))
	}
	// whileStrangerWaits sends what a known device says while another's question is under way.
	whileStrangerWaits := func() (m packet.Message, resume func()) {
		for known := false; !known; {
			s.request(t, post("T"))
			_, known, _ = s.Transport.Cached(transport.Credentials{Token: "T"})
		}
		resume = s.Core.Stall()
		asked := s.Core.Asked()
		stranger := dial(t, s.Service)
		for s.Core.Asked() == asked { // the place may not be free yet
			if _, err := stranger.Write(post("STRANGER")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		return s.request(t, post("T")), resume
	}
	known, resume := whileStrangerWaits()
	if known.Code != packet.Created { // the transport began to follow changes just now, and believes nothing from before that
		resume()
		known, resume = whileStrangerWaits()
	}
	defer resume()
	if known.Code != packet.Created {
		t.Errorf("a known device got %s", known.Code)
	}
	m := s.request(t, post("ANOTHER")) // there is one place to wait
	if m.Code != packet.ServiceUnavailable || optionsOf(m)[packet.MaxAge] != 5 {
		t.Errorf("beyond the bound: %s, options %v", m.Code, optionsOf(m))
	}
}

func TestBusFullEndsWithPatience(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Patience = 20 * time.Millisecond })
	s.Bus.SetFull(true)
	m := s.request(t, confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`)))
	if m.Code != packet.ServiceUnavailable {
		t.Errorf("%s", m.Code)
	}
}

func TestPing(t *testing.T) {
	s := newScene(t, nil)
	conn := dial(t, s.Service)
	got, ok := exchangeOn(t, conn, packet.AppendHeader(nil, packet.Confirmable, packet.Empty, 7, nil), 5*time.Second)
	if want := packet.AppendHeader(nil, packet.Reset, packet.Empty, 7, nil); !ok || !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	if _, err := New(Config{}, nil, process.Env{}); err == nil || !strings.Contains(err.Error(), "coap-in-hand") {
		t.Errorf("%v", err)
	}
	var c Config
	if err := settings.Defaults(&c, nil); err != nil {
		t.Fatal(err)
	}
	c.Listen = "nowhere"
	if _, err := New(c, nil, process.Env{}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
}

func TestWithoutAListener(t *testing.T) {
	s, stop := start(t, nil, func(c *Config) { c.Listen = "" })
	if s.Addr() != "" {
		t.Errorf("listens on %s", s.Addr())
	}
	stop()
}
