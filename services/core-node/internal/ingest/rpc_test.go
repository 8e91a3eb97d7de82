package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
)

// handset is a device's session, by hand: a transport's part is what the test tells.
type handset struct {
	*world
	device entity.Device
	node   string
	id     ident.ID
}

// connect opens a session that takes requests.
func (w *world) connect(d entity.Device, node string) *handset {
	h := &handset{w, d, node, ident.New()}
	w.tell(d, open(h.id, node))
	h.subscribe(true)
	return h
}

func (h *handset) subscribe(on bool) {
	h.tell(h.device, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SessionSubscribed{
		SessionSubscribed: &sluicepb.SessionSubscribed{SessionId: h.id[:], Rpc: on},
	}})
}

// poll opens a session that waits for one request.
func (w *world) poll(d entity.Device, node string) *handset {
	h := &handset{w, d, node, ident.New()}
	m := open(h.id, node)
	m.GetSessionOpened().Once, m.GetSessionOpened().Rpc = true, true
	w.tell(d, m)
	return h
}

// requests is what the session was told to ask of the device, in order.
func (h *handset) requests() []*sluicepb.RpcRequest {
	h.t.Helper()
	var all []*sluicepb.RpcRequest
	for _, down := range h.downlinks(h.node) {
		if r := down.GetRpcRequest(); r != nil && ident.ID(down.GetSessionId()) == h.id {
			if ident.ID(down.GetDeviceId()) != h.device.ID.ID {
				h.t.Errorf("it is of the device %x", down.GetDeviceId())
			}
			all = append(all, r)
		}
	}
	return all
}

// asked waits for the session's n-th request.
func (h *handset) asked(n int) *sluicepb.RpcRequest {
	h.t.Helper()
	h.eventually(fmt.Sprintf("request %d", n), func() bool { return len(h.requests()) >= n })
	return h.requests()[n-1]
}

func (h *handset) reply(number int32, payload string) {
	h.tell(h.device, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_RpcReply{RpcReply: &sluicepb.RpcReply{RequestId: number, Payload: payload}}})
}

func (h *handset) progress(r *sluicepb.RpcRequest, stage sluicepb.RpcStage) {
	h.tell(h.device, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_RpcProgress{RpcProgress: &sluicepb.RpcProgress{
		SessionId: h.id[:], RequestId: r.GetRequestId(), RpcId: r.GetRpcId(), Stage: stage,
	}}})
}

// send is a request of people; change may make it another.
func (w *world) sendRPC(d entity.Device, change func(*sluicepb.SendRpc)) ident.ID {
	id := ident.New()
	s := &sluicepb.SendRpc{RpcId: id[:], Method: "m", Params: `{"p":1}`, ExpiresAtMs: time.Now().Add(time.Minute).UnixMilli(), Retries: -1}
	if change != nil {
		change(s)
	}
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SendRpc{SendRpc: s}})
	return id
}

// answered waits for the n-th answer to a call.
func (w *world) answered(n int) *sluicepb.CoreAnswer {
	w.t.Helper()
	w.eventually(fmt.Sprintf("answer %d", n), func() bool {
		w.bus.mu.Lock()
		defer w.bus.mu.Unlock()
		return len(w.bus.answers) >= n
	})
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	a := &sluicepb.CoreAnswer{}
	if err := proto.Unmarshal(w.bus.answers[n-1], a); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func oneWay(s *sluicepb.SendRpc)     { s.OneWay = true }
func persistent(s *sluicepb.SendRpc) { s.Persistent = true }
func soon(s *sluicepb.SendRpc)       { s.ExpiresAtMs = time.Now().Add(300 * time.Millisecond).UnixMilli() }

func TestM60M61TwoWay(t *testing.T) {
	w := newWorld(t)
	w.config.Trace = trace.Settings{Messages: 100}
	d := w.device("A")
	w.start()
	h := w.connect(d, "mqtt-1")
	for n, payload := range []string{`{"ok":1}`, `not json`, ``} {
		id := w.sendRPC(d, nil)
		r := h.asked(n + 1)
		want := &sluicepb.RpcRequest{RequestId: int32(n), Method: "m", Params: `{"p":1}`, RpcId: id[:], ExpiresAtMs: r.GetExpiresAtMs()}
		if diff := cmp.Diff(want.String(), r.String()); diff != "" {
			t.Error(diff)
		}
		h.reply(r.GetRequestId()+100, "unknown")
		h.reply(r.GetRequestId(), payload)
		h.reply(r.GetRequestId(), "a second one")
		if a := w.answered(n + 1); string(a.GetDocument()) != payload || a.GetFault() != nil || a.GetRpc() != sluicepb.RpcOutcome_RPC_ANSWERED {
			t.Errorf("answered %v", a)
		}
	}
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_Trace{Trace: &sluicepb.TraceRequest{Limit: 10}}})
	if traces := string(w.answered(4).GetDocument()); strings.Count(traces, `"RPC Call Request"`) != 3 || !strings.Contains(traces, rule.RPCToDevice) {
		t.Errorf("their traces are %s", traces)
	}
	w.told()
	w.halt()
	if n := w.counted("core_node_rpc_total", rpc.FateAnswered); n != 3 {
		t.Errorf("%v requests counted as answered", n)
	}
	w.addsUp()
}

func TestM62NobodyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		connected bool
		want      sluicepb.RpcOutcome
	}{
		"no reply":      {true, sluicepb.RpcOutcome_RPC_NOT_ANSWERED},
		"no connection": {false, sluicepb.RpcOutcome_RPC_NOT_CONNECTED},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.device("A")
			w.start()
			if c.connected {
				w.connect(d, "mqtt-1")
			}
			w.sendRPC(d, soon)
			if a := w.answered(1); a.GetRpc() != c.want {
				t.Errorf("answered %v", a)
			}
			w.halt()
			w.addsUp()
		})
	}
}

// A chain that does not send the request leaves its caller without an answer, a second after it has expired.
func TestAChainThatDoesNotAsk(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.chain = []byte(strings.ReplaceAll(string(w.chain), `"RPC Request to Device"`, `"Nothing"`))
	w.start()
	h := w.connect(d, "mqtt-1")
	w.sendRPC(d, soon)
	if a := w.answered(1); a.GetRpc() != sluicepb.RpcOutcome_RPC_NOT_ANSWERED || len(h.requests()) != 0 {
		t.Errorf("answered %v, asked %v", a, h.requests())
	}
}

func TestM63OneWayIsAnsweredAtOnce(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	h := w.connect(d, "mqtt-1")
	w.sendRPC(d, oneWay)
	if a := w.answered(1); a.GetFault() != nil || a.GetRpc() != sluicepb.RpcOutcome_RPC_ANSWERED || len(a.GetDocument()) != 0 {
		t.Errorf("answered %v", a)
	}
	if r := h.asked(1); !r.GetOneWay() {
		t.Errorf("asked %v", r)
	}
	w.bus.mu.Lock()
	w.bus.refuse = func(m bus.Message) error {
		if strings.HasPrefix(m.Topic, topics.TransportResponses) {
			return bus.ErrDeadline
		}
		return nil
	}
	w.bus.mu.Unlock()
	w.sendRPC(d, oneWay)
	if a := w.answered(2); fault.Kind(a.GetFault().GetKind()) != fault.Unavailable {
		t.Errorf("what the bus did not take is answered %v", a)
	}
}

func TestM64SentWhenTheDeviceSubscribes(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	w.sendRPC(d, oneWay)
	w.sendRPC(d, nil)
	w.told()
	h := w.connect(d, "mqtt-1")
	if first, second := h.asked(1), h.asked(2); first.GetRequestId() != 0 || second.GetRequestId() != 1 || !first.GetOneWay() {
		t.Errorf("asked %v and %v", first, second)
	}
	h.subscribe(false)
	h.subscribe(true)
	h.reply(1, `1`)
	if a := w.answered(2); string(a.GetDocument()) != "1" {
		t.Errorf("answered %v", a)
	}
	if n := len(h.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
	h.subscribe(false)
	w.sendRPC(d, nil)
	w.told()
	if n := len(h.requests()); n != 2 {
		t.Errorf("a session that takes none any more is asked")
	}
}

func (w *world) rpcStatus(d entity.Device, id ident.ID) rpc.Record {
	w.t.Helper()
	r, err := (rpc.Keeper{Rows: w.rows}).On(w.t.Context(), d.Tenant, d.ID, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) becomes(d entity.Device, id ident.ID, want rpc.Status) {
	w.t.Helper()
	w.eventually(string(want), func() bool { return w.rpcStatus(d, id).Status == want })
}

// rpcEvents has the chain log everything, and returns where the types of what was logged go.
func (w *world) rpcEvents() *[]string {
	w.chain = []byte(strings.ReplaceAll(string(w.chain), `"type": "Other"`, `"type": "RPC Delivered"`))
	var kinds []string
	for i := range w.kinds {
		if strings.HasSuffix(w.kinds[i].Class, "TbLogNode") {
			w.kinds[i].New = recordTypes(&kinds)
		}
	}
	return &kinds
}

func TestM65PersistentUntilAnswered(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	events := w.rpcEvents()
	w.start()
	id := w.sendRPC(d, persistent)
	if a := w.answered(1); string(a.GetDocument()) != `{"rpcId":"`+id.String()+`"}` {
		t.Errorf("answered %v", a)
	}
	if r := w.rpcStatus(d, id); r.Status != rpc.Queued {
		t.Errorf("stored %+v", r)
	}
	h := w.connect(d, "mqtt-1")
	r := h.asked(1)
	if !r.GetPersistent() || r.GetAgain() || r.GetAcknowledgeWithinMs() < 9_000 || r.GetAcknowledgeWithinMs() > 10_000 {
		t.Errorf("asked %v", r)
	}
	h.progress(r, sluicepb.RpcStage_RPC_SENT)
	w.becomes(d, id, rpc.Sent)
	h.progress(r, sluicepb.RpcStage_RPC_TIMED_OUT)
	if again := h.asked(2); !again.GetAgain() || again.GetRequestId() != r.GetRequestId() {
		t.Errorf("asked again %v", again)
	}
	w.becomes(d, id, rpc.TimedOut)
	h.progress(r, sluicepb.RpcStage_RPC_SENT)
	h.progress(r, sluicepb.RpcStage_RPC_DELIVERED)
	w.becomes(d, id, rpc.Delivered)
	h.reply(r.GetRequestId(), `{"ok":1}`)
	w.becomes(d, id, rpc.Successful)
	if got := w.rpcStatus(d, id); string(got.Response) != `{"ok":1}` {
		t.Errorf("stored %+v", got)
	}
	w.told()
	w.halt()
	if diff := cmp.Diff([]string{"RPC_DELIVERED "}, *events); diff != "" {
		t.Error(diff)
	}
	for status, want := range map[rpc.Status]float64{rpc.Queued: 1, rpc.Sent: 2, rpc.TimedOut: 1, rpc.Delivered: 1, rpc.Successful: 1} {
		if got := w.counted("core_node_rpc_total", string(status)); got != want {
			t.Errorf("%v %s, want %v", got, status, want)
		}
	}
	w.addsUp()
}

// F23: the transport that had the request was killed; whoever has the device next gets it, and so it does under a new owner.
func TestF23ARequestOutlivesTransportsAndOwners(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	h := w.connect(d, "mqtt-1")
	id := w.sendRPC(d, persistent)
	h.progress(h.asked(1), sluicepb.RpcStage_RPC_SENT)
	w.becomes(d, id, rpc.Sent)
	next := w.connect(d, "mqtt-2") // nothing is heard of mqtt-1 any more
	if r := next.asked(1); !r.GetAgain() || ident.ID(r.GetRpcId()) != id {
		t.Errorf("asked %v", r)
	}
	w.told()
	w.halt()
	w.start() // another owner, which hears of the session when it is announced again
	m := open(next.id, "mqtt-2")
	m.GetSessionOpened().Again, m.GetSessionOpened().Rpc = true, true
	w.tell(d, m)
	r := next.asked(2)
	if !r.GetAgain() || r.GetRequestId() != 0 {
		t.Errorf("asked %v", r)
	}
	next.progress(r, sluicepb.RpcStage_RPC_DELIVERED)
	w.becomes(d, id, rpc.Delivered)
	w.halt()
	w.start()
	next.reply(0, `7`) // the device knows it by its number, whoever owns it
	w.becomes(d, id, rpc.Successful)
	if n := len(next.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// What nobody asks for any more expires though its device is never heard of.
func TestPersistentRequestsExpireUnderANewOwner(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	id := w.sendRPC(d, func(s *sluicepb.SendRpc) { persistent(s); soon(s) })
	w.answered(1)
	w.told()
	w.halt()
	w.start()
	w.becomes(d, id, rpc.Expired)
	w.eventually("the list to be empty", func() bool {
		left, err := (rpc.Keeper{Rows: w.rows}).Unfinished(t.Context(), 0)
		return err == nil && len(left) == 0
	})
}

// The owner is who knows whose a device is, whether it has the device in memory or not.
func TestNobodyAsksAnotherTenantsDevice(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	stranger := d
	stranger.Tenant = ident.TenantID{ID: ident.New()}
	w.sendRPC(stranger, nil)
	w.answered(1)
	h := w.connect(d, "mqtt-1")
	w.told()
	w.sendRPC(stranger, nil)
	w.sendRPC(stranger, persistent)
	for n := range 3 {
		if a := w.answered(n + 1); fault.Kind(a.GetFault().GetKind()) != fault.NotFound {
			t.Errorf("answered %v", a)
		}
	}
	if len(h.requests()) != 0 {
		t.Error("the device was asked")
	}
}

func TestPersistentRequestsAreDeleted(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	id := w.sendRPC(d, persistent)
	w.answered(1)
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteRpc{DeleteRpc: &sluicepb.DeleteRpc{RpcId: id[:]}}})
	if a := w.answered(2); a.GetFault() != nil {
		t.Errorf("answered %v", a)
	}
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteRpc{DeleteRpc: &sluicepb.DeleteRpc{RpcId: id[:]}}})
	if a := w.answered(3); fault.Kind(a.GetFault().GetKind()) != fault.NotFound {
		t.Errorf("a second time answered %v", a)
	}
	if h := w.connect(d, "mqtt-1"); len(h.requests()) != 0 {
		t.Error("what was deleted is sent")
	}
	w.told()
}

func TestADeletedDeviceIsAskedNothing(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	w.sendRPC(d, nil)
	id := w.sendRPC(d, persistent)
	w.answered(1)
	w.devices.mu.Lock()
	delete(w.devices.known, d.ID)
	w.devices.mu.Unlock()
	if err := (Lifecycle{w.bus}).Happened(t.Context(), entity.Change{Kind: entityDeleted, Tenant: d.Tenant, Originator: d.ID.Entity()}); err != nil {
		t.Fatal(err)
	}
	if a := w.answered(2); fault.Kind(a.GetFault().GetKind()) != fault.NotFound {
		t.Errorf("answered %v", a)
	}
	w.sendRPC(d, nil)
	if a := w.answered(3); fault.Kind(a.GetFault().GetKind()) != fault.NotFound {
		t.Errorf("one that comes later is answered %v", a)
	}
	w.told()
	if _, err := (rpc.Keeper{Rows: w.rows}).On(t.Context(), d.Tenant, d.ID, id); !isGone(err) {
		t.Errorf("its request is left: %v", err)
	}
	if left, err := (rpc.Keeper{Rows: w.rows}).Unfinished(t.Context(), 0); err != nil || len(left) != 0 {
		t.Errorf("left on the list: %v, %v", left, err)
	}
	w.addsUp()
}

func TestH11H12Polls(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	w.sendRPC(d, nil)
	w.sendRPC(d, nil)
	w.told()
	first, second, third := w.poll(d, "http-1"), w.poll(d, "http-1"), w.poll(d, "http-2")
	w.told()
	if a, b := first.requests(), second.requests(); len(a) != 1 || len(b) != 1 || a[0].GetRequestId() != 0 || b[0].GetRequestId() != 1 {
		t.Errorf("one is told %v, the other %v", a, b)
	}
	fourth := w.poll(d, "http-1")
	w.sendRPC(d, oneWay)
	w.answered(1)
	if len(third.requests()) != 1 || len(fourth.requests()) != 1 {
		t.Errorf("who waits is told %v and %v", third.requests(), fourth.requests())
	}
	first.reply(1, `"b"`)
	first.reply(0, `"a"`)
	if a, b := w.answered(2), w.answered(3); string(a.GetDocument()) != `"b"` || string(b.GetDocument()) != `"a"` {
		t.Errorf("answered %v and %v", a, b)
	}
	if server := w.attributes(d, 3); server["lastConnectTime"].Long() != 0 {
		t.Errorf("a poll is taken for a connection: %v", server)
	}
}

// A poll gets one request under a new owner too, whose first word of the device it is.
func TestH12APollOfANewOwnerGetsOne(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	w.sendRPC(d, persistent)
	w.sendRPC(d, persistent)
	w.answered(2)
	w.told()
	w.halt()
	w.start()
	first, second := w.poll(d, "http-1"), w.poll(d, "http-1")
	w.told()
	if a, b := first.requests(), second.requests(); len(a) != 1 || len(b) != 1 || a[0].GetRequestId() != 0 || b[0].GetRequestId() != 1 {
		t.Errorf("one is told %v, the other %v", a, b)
	}
}

// A poll for requests is not told of attributes, nor one that was told of them once before.
func TestH10PollsForAttributes(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	id := ident.New()
	m := open(id, "http-1")
	m.GetSessionOpened().Once, m.GetSessionOpened().Attributes = true, true
	w.tell(d, m)
	w.poll(d, "http-1")
	w.tell(d, saveAttributes("SHARED_SCOPE", "s", 1))
	w.tell(d, saveAttributes("SHARED_SCOPE", "s", 2))
	w.told()
	down := w.downlinks("http-1")
	if len(down) != 1 || ident.ID(down[0].GetSessionId()) != id || !proto.Equal(down[0].GetAttributesUpdated(), &sluicepb.AttributesUpdated{Updated: long("s", 1)}) {
		t.Errorf("told %v", down)
	}
}

// G19: of two sessions of a device only the newest is asked.
func TestG19TheNewestSessionIsAsked(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	old, newest := w.connect(d, "mqtt-1"), w.connect(d, "mqtt-2")
	w.sendRPC(d, nil)
	newest.asked(1)
	if len(old.requests()) != 0 {
		t.Error("the old session is asked")
	}
}
