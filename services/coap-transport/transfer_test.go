package coaptransport

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestC11Provision(t *testing.T) {
	s := newScene(t, nil)
	s.Core.AddProfile(&transporttest.Profile{Key: "key", Secret: "secret", Tenant: ident.TenantID{ID: ident.New()}})
	for _, c := range []struct {
		name, body string
		code       packet.Code
		status     string
	}{
		{"good", `{"deviceName":"new","provisionDeviceKey":"key","provisionDeviceSecret":"secret"}`, packet.Created, `"status":"SUCCESS"`},
		{"wrong secret", `{"deviceName":"other","provisionDeviceKey":"key","provisionDeviceSecret":"wrong"}`, packet.BadRequest, `"status":"NOT_FOUND"`},
		{"the same name", `{"deviceName":"new","provisionDeviceKey":"key","provisionDeviceSecret":"secret"}`, packet.BadRequest, `"status":"FAILURE"`},
	} {
		m := s.request(t, confirmable(packet.Post, path("api", "v1", "provision"), []byte(c.body)))
		if m.Code != c.code || !strings.Contains(string(m.Payload), c.status) {
			t.Errorf("%s: %s %s", c.name, m.Code, m.Payload)
		}
	}
}

func TestC12Claim(t *testing.T) {
	s := newScene(t, nil)
	for i, body := range []string{"", `{"secretKey":"s","durationMs":60000}`} {
		if m := s.request(t, confirmable(packet.Post, path("api", "v1", "T", "claim"), []byte(body))); m.Code != packet.Created {
			t.Errorf("claim %d: %s %s", i, m.Code, m.Payload)
		}
	}
	s.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetClaim().GetSecret() == "s" && m.GetClaim().GetDurationMs() == 60000
	})
}

// upload posts body in blocks of 1024 bytes and returns the last answer.
func (p *peer) upload(t *testing.T, to []option, body []byte) packet.Message {
	t.Helper()
	for n := uint32(0); ; n++ {
		part := body[:min(len(body), 1024)]
		body = body[len(part):]
		b := packet.Block{Number: n, More: len(body) > 0, Exponent: 6}
		m := p.ask(t, confirmable(packet.Post, append(slices.Clone(to), number(packet.Block1, b.Value())), part))
		if len(body) == 0 || m.Code != packet.Continue {
			return m
		}
		if echoed := optionsOf(m)[packet.Block1]; echoed != b.Value() {
			t.Fatalf("block %d is acknowledged as %d", b.Value(), echoed)
		}
	}
}

func TestC15UploadInBlocks(t *testing.T) {
	s := newScene(t, nil)
	body := []byte(`{"text":"` + strings.Repeat("x", 5<<10) + `"}`)
	m := newPeer(t, s).upload(t, path("api", "v1", "T", "telemetry"), body)
	if _, echoed := optionsOf(m)[packet.Block1]; m.Code != packet.Created || !echoed {
		t.Errorf("%s %s", m.Code, m.Payload)
	}
	if got := s.Uplinks(t, 1)[0].Telemetry[0].Values[0].Value.Text(); len(got) != 5<<10 {
		t.Errorf("%d bytes arrived", len(got))
	}
}

func TestUploadsAreBounded(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxUploadBytes, c.Uploads = 4096, 1 })
	p, to := newPeer(t, s), path("api", "v1", "T", "telemetry")
	m := p.upload(t, to, bytes.Repeat([]byte{' '}, 5<<10))
	if m.Code != packet.TooLarge || optionsOf(m)[packet.Size1] != 4096 {
		t.Errorf("%s, Size1 %d", m.Code, optionsOf(m)[packet.Size1])
	}
	block := func(to []option, b packet.Block) packet.Code {
		return p.ask(t, confirmable(packet.Post, append(slices.Clone(to), number(packet.Block1, b.Value())), bytes.Repeat([]byte{' '}, 1024))).Code
	}
	if code := block(to, packet.Block{More: true, Exponent: 6}); code != packet.Continue {
		t.Fatalf("%s", code)
	}
	// Another upload of the endpoint ends this one.
	if code := block(path("api", "v1", "T", "attributes"), packet.Block{More: true, Exponent: 6}); code != packet.Continue {
		t.Fatalf("%s", code)
	}
	if code := block(to, packet.Block{Number: 1, More: true, Exponent: 6}); code != packet.Incomplete {
		t.Errorf("%s", code)
	}
	// Nobody who is not known may leave anything here.
	if code := block(path("api", "v1", "WRONG", "telemetry"), packet.Block{More: true, Exponent: 6}); code != packet.Unauthorized {
		t.Errorf("%s", code)
	}
	announced := append(slices.Clone(to), number(packet.Block1, 8|6), number(packet.Size1, 5000))
	if m := p.ask(t, confirmable(packet.Post, announced, bytes.Repeat([]byte{' '}, 1024))); m.Code != packet.TooLarge {
		t.Errorf("%s", m.Code)
	}
}

// download fetches what get asks for, in blocks of that exponent at most.
func (p *peer) download(t *testing.T, get []option, exponent uint8) []byte {
	t.Helper()
	var body []byte
	for n := uint32(0); ; n++ {
		b := packet.Block{Number: n, Exponent: exponent}
		m := p.ask(t, confirmable(packet.Get, append(slices.Clone(get), number(packet.Block2, b.Value())), nil))
		got, ok := packet.Uint(packet.AppendUint(nil, 0, 0, optionsOf(m)[packet.Block2])[1:])
		if m.Code != packet.Content || !ok || got>>4 != n {
			t.Fatalf("block %d: %s %s, Block2 %d", n, m.Code, m.Payload, got)
		}
		body = append(body, m.Payload...)
		if got&8 == 0 {
			return body
		}
	}
}

func TestC16Firmware(t *testing.T) {
	s := newScene(t, nil)
	data := make([]byte, 10<<10)
	for i := range data {
		data[i] = byte(i / 7)
	}
	firmware := s.Core.AddPackage("fw", "1.0", data)
	s.Core.Change(func() { s.device.Firmware = firmware })
	p, get := newPeer(t, s), path("fw", "T")
	for _, exponent := range []uint8{6, 4, 2} {
		if got := p.download(t, get, exponent); !bytes.Equal(got, data) {
			t.Errorf("blocks of %d: %d bytes", 16<<exponent, len(got))
		}
	}
	with := func(items string) []option {
		o := slices.Clone(get)
		for _, item := range strings.Split(items, "&") {
			o = append(o, option{packet.URIQuery, []byte(item)})
		}
		return o
	}
	for _, c := range []struct {
		query string
		code  packet.Code
		want  []byte
	}{
		{"size=1024&chunk=1", packet.Content, data[1024:2048]},
		{"size=1000&chunk=10", packet.Content, data[10000:]},
		{"size=1024&chunk=10", packet.Content, nil},
		{"title=fw&version=1.0&size=16&chunk=0", packet.Content, data[:16]},
		{"title=other&version=1.0", packet.BadRequest, nil},
		{"title=fw&version=2", packet.BadRequest, nil},
		{"size=x", packet.BadRequest, nil},
		{"size=16&chunk=-1", packet.BadRequest, nil},
	} {
		m := p.ask(t, confirmable(packet.Get, with(c.query), nil))
		if m.Code != c.code || !bytes.Equal(m.Payload, c.want) {
			t.Errorf("%s: %s, %d bytes", c.query, m.Code, len(m.Payload))
		}
	}
	if got := p.download(t, with("size=3000&chunk=1"), 5); !bytes.Equal(got, data[3000:6000]) {
		t.Errorf("a chunk in blocks: %d bytes", len(got))
	}
	if m := p.ask(t, confirmable(packet.Get, path("sw", "T"), nil)); m.Code != packet.NotFound {
		t.Errorf("software: %s", m.Code)
	}
	s.Core.Change(func() { firmware.URL = "http://elsewhere" })
	if m := p.ask(t, confirmable(packet.Get, get, nil)); m.Code != packet.NotFound {
		t.Errorf("a package elsewhere: %s", m.Code)
	}
}

// TestAttributesInBlocks: the blocks are of one representation although the attributes change meanwhile.
func TestAttributesInBlocks(t *testing.T) {
	s := newScene(t, nil)
	set := func(c string) {
		s.Core.Change(func() {
			s.device.Shared = []telemetry.KeyValue{{Key: "text", Value: telemetry.OfString(strings.Repeat(c, 3000))}}
		})
	}
	set("a")
	p, get := newPeer(t, s), path("api", "v1", "T", "attributes")
	first := p.ask(t, confirmable(packet.Get, get, nil))
	if len(first.Payload) != 1024 || optionsOf(first)[packet.Block2] != 8|6 || optionsOf(first)[packet.Size2] != 3022 {
		t.Fatalf("%s, options %v", first.Code, optionsOf(first))
	}
	set("b")
	second := p.ask(t, confirmable(packet.Get, append(slices.Clone(get), number(packet.Block2, 1<<4|6)), nil))
	if string(second.Payload) != strings.Repeat("a", 1024) {
		t.Errorf("%.20s", second.Payload)
	}
	if got, want := string(p.download(t, get, 4)), fmt.Sprintf(`{"shared":{"text":"%s"}}`, strings.Repeat("b", 3000)); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// TestLongAnswersNeedAProof: who does not show that it is where it says gets a few, and then has to send an Echo.
func TestLongAnswersNeedAProof(t *testing.T) {
	s := newScene(t, func(c *Config) { c.AmplificationTrials = 2 })
	s.Core.Change(func() {
		s.device.Shared = []telemetry.KeyValue{{Key: "text", Value: telemetry.OfString(strings.Repeat("x", 500))}}
	})
	get := path("api", "v1", "T", "attributes")
	for trial := range 2 {
		p := newPeer(t, s)
		p.silent = true
		if m := p.ask(t, confirmable(packet.Get, get, nil)); m.Type != packet.Confirmable || m.Code != packet.Content {
			t.Fatalf("trial %d: %v %s", trial, m.Type, m.Code)
		}
	}
	p := newPeer(t, s)
	m := p.ask(t, confirmable(packet.Get, get, nil))
	var echo []byte
	for o, value := range m.Options.All() {
		if o == packet.Echo {
			echo = value
		}
	}
	if m.Code != packet.Unauthorized || len(echo) == 0 {
		t.Fatalf("%s without an Echo", m.Code)
	}
	if m := p.ask(t, confirmable(packet.Get, append(slices.Clone(get), option{packet.Echo, bytes.Repeat([]byte{1}, len(echo))}), nil)); m.Code != packet.Unauthorized {
		t.Errorf("with another Echo: %s", m.Code)
	}
	if m := p.ask(t, confirmable(packet.Get, append(slices.Clone(get), option{packet.Echo, echo}), nil)); m.Code != packet.Content || m.Type != packet.Acknowledgement {
		t.Errorf("with the Echo: %v %s", m.Type, m.Code)
	}
	if m := p.ask(t, confirmable(packet.Get, get, nil)); m.Code != packet.Content {
		t.Errorf("once it is known: %s", m.Code)
	}
	if m := newPeer(t, s).ask(t, confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`))); m.Code != packet.Created {
		t.Errorf("a short answer: %s", m.Code)
	}
}

func TestNonConfirmableIsStoredOnce(t *testing.T) {
	s := newScene(t, nil)
	p := newPeer(t, s)
	d := message(packet.NonConfirmable, packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`))
	p.ask(t, d)
	p.send(t, d)
	if m, came := p.receive(t, 50*time.Millisecond); came {
		t.Errorf("the repetition got %s", m.Code)
	}
	s.Uplinks(t, 1)
}
