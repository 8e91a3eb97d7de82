package mqtt_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mqtt"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a broker nobody here wrote; it keeps what is published to it, and lets in who has the password.
type peer struct {
	broker.HookBase
	host string
	port int

	mu        sync.Mutex
	published []string
	connected int
	password  string
}

func (p *peer) ID() string { return "peer" }
func (p *peer) Provides(b byte) bool {
	return bytes.Contains([]byte{broker.OnConnectAuthenticate, broker.OnACLCheck, broker.OnPublished}, []byte{b})
}

func (p *peer) OnConnectAuthenticate(_ *broker.Client, pk packets.Packet) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected++
	return string(pk.Connect.Username)+":"+string(pk.Connect.Password) == p.password || p.password == ""
}
func (p *peer) OnACLCheck(*broker.Client, string, bool) bool { return true }
func (p *peer) OnPublished(c *broker.Client, pk packets.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published = append(p.published, fmt.Sprintf("%s %s %s qos %d retained %v version %d", c.ID, pk.TopicName, pk.Payload, pk.FixedHeader.Qos, pk.FixedHeader.Retain, c.Properties.ProtocolVersion))
}

// seen waits for so many messages, which the broker may acknowledge before it tells of them.
func (p *peer) seen(messages int) ([]string, int) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		published, connected := p.published, p.connected
		p.mu.Unlock()
		if len(published) >= messages || time.Now().After(deadline) {
			return published, connected
		}
	}
}

// serve starts a peer; stop ends it, and so does the test.
func serve(t *testing.T, address string) (p *peer, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p = &peer{host: "127.0.0.1", port: l.Addr().(*net.TCPAddr).Port}
	server := broker.New(&broker.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(p, nil); err != nil {
		t.Fatal(err)
	}
	if err := server.AddListener(listeners.NewNet("peer", l)); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

func (p *peer) config(more string) string {
	return fmt.Sprintf(`{"topicPattern":"t/${name}","host":%q,"port":%d,"connectTimeoutSec":1,"cleanSession":true%s}`, p.host, p.port, more)
}

func bench(t *testing.T, allow ...string) *rulenodetest.Bench {
	t.Helper()
	s := outside.DefaultSettings()
	s.Allow, s.Timeout = allow, 2*time.Second
	b := rulenodetest.New(t)
	b.Services.Service = "core-1"
	b.Services.Outside = outside.New(outside.Options{Settings: s})
	t.Cleanup(func() {
		if err := b.Services.Outside.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestMessagesArePublished(t *testing.T) {
	for name, is := range map[string]struct{ config, data, want string }{
		"as it is by default": {`,"clientId":"c"`, `{"a":1}`, `c t/d {"a":1} qos 1 retained false version 4`},
		"everything": {`,"clientId":"c","appendClientIdSuffix":true,"retainedMessage":true,"parseToPlainText":true,"protocolVersion":"MQTT_3_1",` +
			`"credentials":{"type":"basic","username":"u","password":"p"}`, `"hello"`, `c_core-1 t/d hello qos 1 retained true version 3`},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := serve(t, "127.0.0.1:0")
			if strings.Contains(is.config, "basic") {
				p.password = "u:p"
			}
			b := bench(t, "127.0.0.0/8")
			for range 3 { // the chain is read again: other nodes, one connection
				out := b.Process(b.Node(mqtt.Kind(), p.config(is.config)), b.Message("T", is.data, map[string]string{"name": "d"}))
				if why, failed := out.Failed(); failed {
					t.Fatal(why)
				}
				if out.Emitted[0].Relation != rule.Success {
					t.Errorf("outcome %+v", out)
				}
			}
			published, connected := p.seen(3)
			if len(published) != 3 || published[2] != is.want || connected != 1 {
				t.Errorf("published %q over %d connections, want %q", published, connected, is.want)
			}
		})
	}
}

func TestALostConnectionIsOpenedAnew(t *testing.T) {
	p, stop := serve(t, "127.0.0.1:0")
	b := bench(t, "127.0.0.0/8")
	n := b.Node(mqtt.Kind(), p.config(""))
	in := b.Message("T", `{}`, map[string]string{"name": "d"})
	if why, failed := b.Process(n, in).Failed(); failed {
		t.Fatal(why)
	}
	stop()
	if out := b.Process(n, in); out.Away != "" || out.Emitted[0].Relation != rule.Failure || out.Emitted[0].Metadata["error"] == "" {
		t.Errorf("with the broker gone: %+v", out)
	}
	again, _ := serve(t, net.JoinHostPort(p.host, fmt.Sprint(p.port)))
	if why, failed := b.Process(n, in).Failed(); failed {
		t.Fatal(why)
	}
	if published, _ := again.seen(1); len(published) != 1 {
		t.Errorf("published %q", published)
	}
}

func TestWhatGoesWrongFailsTheMessage(t *testing.T) {
	p, _ := serve(t, "127.0.0.1:0")
	p.password = "u:p"
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	mute := &peer{host: "127.0.0.1", port: silent.Addr().(*net.TCPAddr).Port}
	for name, is := range map[string]struct{ allow, config, name, says string }{
		"a broker inside":            {"10.0.0.0/8", p.config(""), "d", "not public"},
		"a wrong password":           {"127.0.0.0/8", p.config(`,"credentials":{"type":"basic","username":"u","password":"x"}`), "d", "connect to"},
		"a broker that says nothing": {"127.0.0.0/8", mute.config(""), "d", "connect to"},
		"no TLS where it is needed":  {"127.0.0.0/8", mute.config(`,"ssl":true`), "d", "connect to"},
		"a topic with wildcards":     {"127.0.0.0/8", p.config(""), "#", "no topic"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench(t, is.allow)
			began := time.Now()
			out := b.Process(b.Node(mqtt.Kind(), is.config), b.Message("T", `{}`, map[string]string{"name": is.name}))
			why, failed := out.Failed()
			if !failed || !strings.Contains(why, is.says) || out.Emitted[0].Metadata["error"] != why {
				t.Errorf("outcome %+v, want %q", out, is.says)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestBadConfigurationsNameTheField(t *testing.T) {
	const sound = `"topicPattern":"t","host":"h","port":1,"cleanSession":true`
	for field, config := range map[string]string{
		"topicPattern": `{"host":"h","port":1}`, "host": `{"topicPattern":"t"}`, "port": `{"topicPattern":"t","host":"h","port":70000}`,
		"connectTimeoutSec": `{` + sound + `,"connectTimeoutSec":-1}`, "clientId": `{"topicPattern":"t","host":"h","port":1,"cleanSession":false}`,
		"protocolVersion": `{` + sound + `,"protocolVersion":"MQTT_5"}`, "credentials.type": `{` + sound + `,"credentials":{"type":"sas"}}`,
		"credentials.caCert": `{` + sound + `,"credentials":{"type":"cert.PEM","caCert":"none"}}`,
	} {
		if _, err := bench(t).New(mqtt.Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestUpgrade(t *testing.T) {
	got, _ := rulenodetest.Upgrade(t, mqtt.Kind(), 0, `{"topicPattern":"t"}`)
	if got != `{"parseToPlainText":false,"protocolVersion":"MQTT_3_1","topicPattern":"t"}` {
		t.Errorf("upgraded to %s", got)
	}
}
