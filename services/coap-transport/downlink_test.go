package coaptransport

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

func long(key string, n int64) []telemetry.KeyValue {
	return []telemetry.KeyValue{{Key: key, Value: telemetry.OfLong(n)}}
}

func rpc(id int32, method, params string) *sluicepb.RpcRequest {
	one := ident.New()
	return &sluicepb.RpcRequest{
		RequestId: id, Method: method, Params: params, RpcId: one[:], ExpiresAtMs: time.Now().Add(time.Minute).UnixMilli(),
	}
}

// awaitStage waits until the core was told that a request got so far.
func (s *scene) awaitStage(t *testing.T, id int32, stage sluicepb.RpcStage) {
	t.Helper()
	s.Report(t, func(m *sluicepb.CoreMessage) bool {
		p := m.GetRpcProgress()
		return p != nil && p.GetRequestId() == id && p.GetStage() == stage
	})
}

func TestC05ObserveAttributes(t *testing.T) {
	s := newScene(t, nil)
	s.Core.Change(func() { s.device.Shared = long("k", 1) })
	for _, kind := range []packet.Type{packet.Confirmable, packet.NonConfirmable} {
		p, token := newPeer(t, s), []byte{1, byte(kind)}
		p.send(t, observing(kind, 0, token, "api", "v1", "T", "attributes"))
		p.notified(t, token, 0, `{"k":1}`)
		s.UpdateAttributes(t, s.device, long("k", 2))
		if m := p.notified(t, token, 1, `{"k":2}`); m.Type != kind || optionsOf(m)[packet.ContentFormat] != 50 {
			t.Errorf("%+v", m)
		}
		s.UpdateAttributes(t, s.device, nil, "k")
		p.notified(t, token, 2, `{"deleted":["k"]}`)
		// Asked again, everything that is shared is told again, and the relation is the same.
		p.send(t, observing(kind, 0, token, "api", "v1", "T", "attributes"))
		p.notified(t, token, 3, `{"k":1}`)
		s.UpdateAttributes(t, s.device, long("k", 3))
		p.notified(t, token, 4, `{"k":3}`)
	}
}

func TestC06RPC(t *testing.T) {
	s := newScene(t, nil)
	p, token := newPeer(t, s), []byte{7}
	m := p.ask(t, observing(packet.Confirmable, 0, token, "api", "v1", "T", "rpc"))
	if sequence, ok := optionsOf(m)[packet.Observe]; m.Code != packet.Valid || !ok || sequence != 0 || len(m.Payload) != 0 {
		t.Fatalf("%+v", m)
	}
	s.SendRPC(t, s.device, rpc(5, "m", `{"p":1}`))
	p.notified(t, token, 1, `{"id":5,"method":"m","params":{"p":1}}`)
	s.awaitStage(t, 5, sluicepb.RpcStage_RPC_DELIVERED)
	m = p.ask(t, confirmable(packet.Post, path("api", "v1", "T", "rpc", "5"), []byte(`{"ok":1}`)))
	if m.Code != packet.Created {
		t.Errorf("the reply got %s %s", m.Code, m.Payload)
	}
	s.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetRpcReply().GetRequestId() == 5 && m.GetRpcReply().GetPayload() == `{"ok":1}`
	})
}

func TestC06RPCNonConfirmableIsDeliveredWhenSent(t *testing.T) {
	s := newScene(t, nil)
	p, token := newPeer(t, s), []byte{7}
	p.ask(t, observing(packet.NonConfirmable, 0, token, "api", "v1", "T", "rpc"))
	s.SendRPC(t, s.device, rpc(0, "m", ""))
	if m := p.notified(t, token, 1, `{"id":0,"method":"m","params":null}`); m.Type != packet.NonConfirmable {
		t.Errorf("%+v", m)
	}
	s.awaitStage(t, 0, sluicepb.RpcStage_RPC_DELIVERED)
}

func TestC06RPCInBlocks(t *testing.T) {
	s := newScene(t, nil)
	p, token := newPeer(t, s), []byte{7}
	p.ask(t, observing(packet.Confirmable, 0, token, "api", "v1", "T", "rpc"))
	params := `"` + strings.Repeat("long", 500) + `"`
	s.SendRPC(t, s.device, rpc(1, "m", params))
	first := p.expect(t)
	body := first.Payload
	if len(body) != 1024 || optionsOf(first)[packet.Block2] != 8|6 {
		t.Fatalf("%d bytes, options %v", len(body), optionsOf(first))
	}
	m := p.ask(t, confirmable(packet.Get, append(path("api", "v1", "T", "rpc"), number(packet.Block2, 1<<4|6)), nil))
	body = append(bytes.Clone(body), m.Payload...)
	if want := `{"id":1,"method":"m","params":` + params + `}`; string(body) != want {
		t.Errorf("got %s", body)
	}
}

// TestC07AnotherObserver: it is told that it is over by whom the device is heard through now.
func TestC07AnotherObserver(t *testing.T) {
	for _, feature := range []string{"attributes", "rpc"} {
		t.Run(feature, func(t *testing.T) {
			s := newScene(t, nil)
			first, second := newPeer(t, s), newPeer(t, s)
			first.ask(t, observing(packet.Confirmable, 0, []byte{1}, "api", "v1", "T", feature))
			second.ask(t, observing(packet.Confirmable, 0, []byte{2}, "api", "v1", "T", feature))
			if m := first.expect(t); m.Code != packet.Deleted || !bytes.Equal(m.Token, []byte{1}) {
				t.Errorf("the first got %s of % x", m.Code, m.Token)
			}
			if feature == "rpc" {
				s.SendRPC(t, s.device, rpc(0, "m", "1"))
				second.notified(t, []byte{2}, 1, `{"id":0,"method":"m","params":1}`)
			} else {
				s.UpdateAttributes(t, s.device, long("k", 1))
				second.notified(t, []byte{2}, 1, `{"k":1}`)
			}
		})
	}
}

func TestC08NoMore(t *testing.T) {
	s := newScene(t, nil)
	p := newPeer(t, s)
	p.ask(t, observing(packet.Confirmable, 0, []byte{1}, "api", "v1", "T", "attributes"))
	session := s.Session(t, s.device, false)
	if m := p.ask(t, observing(packet.Confirmable, 1, []byte{1}, "api", "v1", "T", "attributes")); m.Code != packet.Deleted {
		t.Errorf("%s", m.Code)
	}
	s.Report(t, func(m *sluicepb.CoreMessage) bool {
		return bytes.Equal(m.GetSessionClosed().GetSessionId(), session[:])
	})
}

// TestObserverThatRejects: a reset of a notification ends the relation, confirmable or not.
func TestObserverThatRejects(t *testing.T) {
	for _, kind := range []packet.Type{packet.Confirmable, packet.NonConfirmable} {
		s := newScene(t, nil)
		p := newPeer(t, s)
		p.ask(t, observing(kind, 0, []byte{1}, "api", "v1", "T", "attributes"))
		session := s.Session(t, s.device, false)
		p.silent = true
		s.UpdateAttributes(t, s.device, long("k", 1))
		m := p.expect(t)
		p.send(t, packet.AppendHeader(nil, packet.Reset, packet.Empty, m.ID, nil))
		s.Report(t, func(m *sluicepb.CoreMessage) bool {
			return bytes.Equal(m.GetSessionClosed().GetSessionId(), session[:])
		})
	}
}

func TestObserverOfADeletedDevice(t *testing.T) {
	s := newScene(t, nil)
	p := newPeer(t, s)
	p.ask(t, observing(packet.Confirmable, 0, []byte{1}, "api", "v1", "T", "attributes"))
	p.ask(t, observing(packet.Confirmable, 0, []byte{2}, "api", "v1", "T", "rpc"))
	s.Core.Remove(s.device)
	s.Changed(t, s.device, true, false)
	for range 2 {
		if m := p.expect(t); m.Code != packet.Deleted {
			t.Errorf("%s", m.Code)
		}
	}
}

// TestSlowObserverGetsTheLatest: while a notification waits for its acknowledgement, what comes is merged.
func TestSlowObserverGetsTheLatest(t *testing.T) {
	s := newScene(t, nil)
	p, token := newPeer(t, s), []byte{1}
	p.ask(t, observing(packet.Confirmable, 0, token, "api", "v1", "T", "attributes"))
	p.silent = true
	s.UpdateAttributes(t, s.device, long("k", 1))
	first := p.notified(t, token, 1, `{"k":1}`)
	for n := range int64(10) {
		s.UpdateAttributes(t, s.device, append(long("k", n), long("l", -n)...))
	}
	p.silent = false
	p.send(t, packet.AppendHeader(nil, packet.Acknowledgement, packet.Empty, first.ID, nil))
	p.notified(t, token, 2, `{"k":9,"l":-9}`)
}

func TestRequestsThatDoNotFit(t *testing.T) {
	s := newScene(t, func(c *Config) { c.ObserveRequests = 1 })
	p := newPeer(t, s)
	p.ask(t, observing(packet.Confirmable, 0, []byte{1}, "api", "v1", "T", "rpc"))
	p.silent = true
	for id := range int32(3) { // one on its way, one waits
		s.SendRPC(t, s.device, rpc(id, "m", "1"))
	}
	s.awaitStage(t, 2, sluicepb.RpcStage_RPC_UNSENT)
}

func TestObserversAreBounded(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Observers = 1 })
	s.Core.AddDevice("U")
	p := newPeer(t, s)
	p.ask(t, observing(packet.Confirmable, 0, []byte{1}, "api", "v1", "T", "rpc"))
	if m := p.ask(t, observing(packet.Confirmable, 0, []byte{2}, "api", "v1", "U", "rpc")); m.Code != packet.ServiceUnavailable {
		t.Errorf("%s", m.Code)
	}
}

func TestClientRPC(t *testing.T) {
	s := newScene(t, nil)
	p := newPeer(t, s)
	p.send(t, confirmable(packet.Post, path("api", "v1", "T", "rpc"), []byte(`{"method":"getTime","params":{"a":1}}`)))
	call := s.Call(t, 0)
	s.AnswerCall(t, call, `{"time":1}`)
	if m := p.expect(t); m.Code != packet.Content || string(m.Payload) != `{"time":1}` || optionsOf(m)[packet.ContentFormat] != 50 {
		t.Errorf("%s %s", m.Code, m.Payload)
	}
}

// TestClientRPCWithoutAnAnswer: the reference leaves such a device waiting; ours is told.
func TestClientRPCWithoutAnAnswer(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Patience = 50 * time.Millisecond })
	m := s.request(t, confirmable(packet.Post, path("api", "v1", "T", "rpc"), []byte(`{"method":"getTime","params":{}}`)))
	if m.Code != packet.GatewayTimeout {
		t.Errorf("%s %s", m.Code, m.Payload)
	}
}

func TestC17PowerSaving(t *testing.T) {
	const awake = 300 * time.Millisecond
	for _, c := range []struct {
		name    string
		options *sluicepb.ProfileOptions
		late    int // messages that reach it after the window
	}{
		{"PSM", &sluicepb.ProfileOptions{PowerMode: "PSM", PsmActivityTimerMs: awake.Milliseconds()}, 0},
		{"E_DRX", &sluicepb.ProfileOptions{PowerMode: "E_DRX", PagingWindowMs: awake.Milliseconds()}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, nil)
			s.Core.Change(func() { s.device.Options = c.options })
			p, token := newPeer(t, s), []byte{1}
			p.ask(t, observing(packet.Confirmable, 0, token, "api", "v1", "T", "attributes"))
			p.ask(t, observing(packet.Confirmable, 0, []byte{2}, "api", "v1", "T", "rpc"))
			time.Sleep(2 * awake) // the device's own clock: there is nothing to wait for
			sequence := uint32(1)
			for range c.late {
				s.UpdateAttributes(t, s.device, long("k", 0))
				p.notified(t, token, sequence, `{"k":0}`)
				sequence++
			}
			s.UpdateAttributes(t, s.device, long("k", 1))
			s.UpdateAttributes(t, s.device, long("l", 1))
			s.UpdateAttributes(t, s.device, long("k", 2))
			s.SendRPC(t, s.device, rpc(3, "m", "1"))
			if m, came := p.receive(t, awake); came {
				t.Fatalf("a sleeping device was sent %s", m.Payload)
			}
			p.send(t, confirmable(packet.Post, path("api", "v1", "T", "telemetry"), []byte(`{"t":1}`)))
			got := map[string]bool{}
			for range 3 {
				m := p.expect(t)
				got[fmt.Sprintf("%s %s", m.Code, m.Payload)] = true
			}
			for _, want := range []string{`2.01 `, `2.05 {"k":2,"l":1}`, `2.05 {"id":3,"method":"m","params":1}`} {
				if !got[want] {
					t.Errorf("%s did not come, but %v", want, got)
				}
			}
		})
	}
}
