package ingest

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// bodies is a node that notes what it is given.
type bodies struct {
	mu  sync.Mutex
	all []string
}

func (b *bodies) Process(_ context.Context, in *rule.Message, _ *rule.Turn) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, in.Type+" "+in.Body.Text())
	return nil
}

func (b *bodies) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.all, text)
}

// linked has relation lead from the default chain's request node to a node that notes what comes.
func (w *world) linked(relation string) *bodies {
	noted := &bodies{}
	w.chain = []byte(strings.Replace(string(w.chain), `"connections": [`, `"connections": [{"fromIndex":5,"toIndex":4,"type":"`+relation+`"},`, 1))
	for i := range w.kinds {
		if strings.HasSuffix(w.kinds[i].Class, "TbLogNode") {
			w.kinds[i].New = func(json.RawMessage, rule.Services) (rule.Node, error) { return noted, nil }
			w.kinds[i].Waits = rule.ForNothing
		}
	}
	return noted
}

// waiting is how many messages of the partition's timers there are in the store.
func (w *world) waiting() int {
	w.t.Helper()
	t := newTimers(w.rows, 0, 1000)
	if err := t.load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return len(t.queue)
}

func TestA23TheChainGoesOnWithTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		relation, answer, want string
		offline, killed        bool
	}{
		"success":         {relation: "Success", answer: `{"ok":1}`, want: `{"ok":1}`},
		"an empty answer": {relation: "Success", want: `{}`},
		"no reply":        {relation: "Failure", want: `{"error":"TIMEOUT"}`},
		"no connection":   {relation: "Failure", want: `{"error":"NO_ACTIVE_CONNECTION"}`, offline: true},
		"another owner":   {relation: "Failure", want: `{"error":"TIMEOUT"}`, killed: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.device("A")
			noted := w.linked(c.relation)
			w.start()
			h := &handset{w, d, "mqtt-1", ident.New()}
			if !c.offline {
				h = w.connect(d, "mqtt-1")
			}
			fails := c.relation == "Failure"
			change := soon
			if !fails {
				change = nil
			}
			w.sendRPC(d, change)
			if !c.offline {
				h.asked(1)
				w.told()
				if !fails && w.waiting() != 1 {
					t.Errorf("%d messages are kept while the device is waited for", w.waiting())
				}
			}
			switch {
			case c.killed:
				w.halt()
				w.start()
			case !fails:
				h.reply(0, c.answer)
			}
			w.eventually("the message to go on", func() bool { return noted.has(rule.RPCToDevice + " " + c.want) })
			w.eventually("its timer to be gone", func() bool { return w.waiting() == 0 })
			w.halt()
			noted.mu.Lock()
			if n := len(noted.all); n != 1 {
				t.Errorf("it went on %d times: %v", n, noted.all)
			}
			noted.mu.Unlock()
			w.addsUp()
		})
	}
}

// What leads nowhere is kept nowhere: a request of the default chain writes nothing.
func TestAnAnswerThatLeadsNowhereIsKeptNowhere(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	h := w.connect(d, "mqtt-1")
	w.sendRPC(d, nil)
	h.asked(1)
	w.told()
	if n := w.waiting(); n != 0 {
		t.Errorf("%d messages are kept", n)
	}
	h.reply(0, `1`)
	w.answered(1)
	w.halt()
	w.addsUp()
}

// ownRequest is a device's own request as its transport puts it on the bus.
// sender is who really put it there; "" is a rule chain.
func (w *world) ownRequest(d entity.Device, sender, service string, session ident.ID) {
	w.t.Helper()
	id := ident.New()
	value, err := proto.Marshal(&sluicepb.RuleMessage{
		Id: id[:], TenantId: d.Tenant.ID[:], Originator: &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]}, Type: rule.RPCFromDevice,
		TimeMs: time.Now().UnixMilli(), ReceivedAtUs: time.Now().UnixMicro(), Data: []byte(`{"method":"getTime","params":{}}`),
		Metadata: map[string]string{"deviceName": d.Name, "deviceType": d.Type, "requestId": "3", "serviceId": service, "sessionId": session.String()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	headers := []bus.Header{{Key: topics.KindHeader, Value: []byte(topics.KindRuleMessage)}}
	if sender != "" {
		headers = append(headers, bus.Header{Key: topics.TransportHeader, Value: []byte(sender)})
	}
	w.publish(bus.Message{Topic: topics.RuleEngine, Key: d.ID.ID[:], Value: value, Headers: headers})
}

// replying puts the reply node where the default chain logs devices' requests.
func (w *world) replying() {
	chain := strings.Replace(string(w.chain), `"type": "org.thingsboard.rule.engine.action.TbLogNode",
        "name": "Log RPC from Device"`, `"type": "org.thingsboard.rule.engine.rpc.TbSendRPCReplyNode",
        "name": "Reply"`, 1)
	if chain == string(w.chain) {
		w.t.Fatal("the default chain logs no requests of devices")
	}
	w.chain = []byte(chain)
}

func TestA24M67TheReplyReachesTheSession(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.replying()
	w.start()
	session := ident.New()
	w.ownRequest(d, "mqtt-1", "mqtt-1", session)
	w.eventually("an answer", func() bool { return len(w.downlinks("mqtt-1")) == 1 })
	down := w.downlinks("mqtt-1")[0]
	want := &sluicepb.RpcAnswer{RequestId: 3, Payload: `{"method":"getTime","params":{}}`}
	if ident.ID(down.GetSessionId()) != session || ident.ID(down.GetDeviceId()) != d.ID.ID || !proto.Equal(down.GetRpcAnswer(), want) {
		t.Errorf("told %v", down)
	}
	w.eventually("its activity to be stored", func() bool { return w.attributes(d, storage.Server)["active"].Bool() })
	w.halt()
	w.addsUp()
}

// That a message names a process there is not is its own fault: the partition goes on.
func TestAnAnswerToNobody(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.replying()
	w.bus.refuse = func(m bus.Message) error {
		if m.Topic == topics.TransportResponses+"gone" {
			return bus.ErrUnavailable
		}
		return nil
	}
	w.start()
	w.ownRequest(d, "gone", "gone", ident.New())
	w.ownRequest(d, "mqtt-1", "mqtt-1", ident.New())
	w.eventually("the other's answer", func() bool { return len(w.downlinks("mqtt-1")) == 1 })
	w.eventually("a dead letter", func() bool { return len(w.letters()) == 1 })
	w.halt()
	w.addsUp()
}

// TestRepliesGoToTransportsAlone: which node a reply is for stands in metadata, and no name that a tenant makes up becomes a topic.
func TestRepliesGoToTransportsAlone(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.replying()
	w.start()
	session := ident.New()
	w.ownRequest(d, "", "made-up", session)
	w.eventually("a dead letter", func() bool { return len(w.letters()) == 1 })
	if letter := w.letters()[0]; !strings.Contains(letter.GetError(), "no transport of that name") {
		t.Errorf("dead letter %v", letter)
	}
	w.ownRequest(d, "http-1", "http-1", session)
	w.eventually("an answer", func() bool { return len(w.downlinks("http-1")) == 1 })
	if n := len(w.downlinks("made-up")); n != 0 {
		t.Errorf("%d answers went to a node nobody has heard of", n)
	}
	w.halt()
	w.addsUp()
}

func TestTransportsAreBounded(t *testing.T) {
	var all transports
	for n := range mostTransports + 10 {
		all.heard(strconv.Itoa(n))
		all.heard(strconv.Itoa(n))
	}
	all.heard("")
	if len(all.known) != mostTransports || !all.knows(strconv.Itoa(mostTransports+9)) || all.knows("") {
		t.Errorf("%d are known", len(all.known))
	}
}
