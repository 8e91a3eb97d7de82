package rpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
)

// bench is a desk over a clock, with one device and whatever sessions the test gives it. What is caused is a line each.
type bench struct {
	t        *testing.T
	desk     *Desk
	settings Settings
	now      time.Time
	tenant   ident.TenantID
	device   ident.DeviceID
	sessions []state.Session
	lines    []string
	names    map[ident.ID]string
	sent     []*sluicepb.RpcRequest
	stored   map[ident.ID]Record
}

func newBench(t *testing.T, change func(*Settings)) *bench {
	b := &bench{
		t: t, settings: DefaultSettings(), now: time.UnixMilli(1_800_000_000_000), tenant: ident.TenantID{ID: ident.New()}, device: ident.DeviceID{ID: ident.New()},
		names: map[ident.ID]string{}, stored: map[ident.ID]Record{},
	}
	if change != nil {
		change(&b.settings)
	}
	b.restart()
	return b
}

// restart is another owner taking over.
func (b *bench) restart() {
	b.desk = NewDesk(b.settings, b, func() time.Time { return b.now })
	b.sessions = nil
}

func (b *bench) note(format string, args ...any) {
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

func (b *bench) want(lines ...string) {
	b.t.Helper()
	if diff := cmp.Diff(lines, b.lines); diff != "" {
		b.t.Error(diff)
	}
	b.lines = nil
}

func (b *bench) Reachable(ident.DeviceID) []state.Session {
	told := slices.Clone(b.sessions)
	b.sessions = slices.DeleteFunc(b.sessions, func(s state.Session) bool { return s.Once })
	return told
}

func (b *bench) Send(to state.Session, _ ident.DeviceID, r *sluicepb.RpcRequest, call *bus.Record) {
	again := ""
	if r.GetAgain() {
		again = " again"
	}
	b.sent = append(b.sent, r)
	b.note("%s is sent %s%s", to.Node, b.names[ident.ID(r.GetRpcId())], again)
	if call != nil {
		b.note("caller %s: sent", call.Topic)
	}
}

func (b *bench) Close(session ident.ID, _ ident.DeviceID) { b.note("%s is closed", b.names[session]) }

func (b *bench) Answer(call bus.Record, o Outcome) {
	b.note("caller %s: %s%s", call.Topic, o.Error, strings.ReplaceAll(o.Payload, `"`, ``))
}

func (b *bench) Count(string) {}

// store makes what changed durable, until nothing does any more.
func (b *bench) store() {
	for b.desk.Changed() {
		changes := b.desk.Changes()
		for _, c := range changes {
			b.note("%s is %s", b.names[c.Record.ID], c.Record.Status)
			b.stored[c.Record.ID] = c.Record
			for _, id := range c.Prune {
				delete(b.stored, id)
				b.note("%s is forgotten", b.names[id])
			}
			if c.Record.Status == Deleted {
				delete(b.stored, c.Record.ID)
			}
		}
		b.desk.Stored(changes)
	}
}

func (b *bench) pass(d time.Duration) {
	for end := b.now.Add(d); ; {
		due := b.desk.Due()
		if due.IsZero() || due.After(end) {
			b.now = end
			return
		}
		b.now = due
		for _, w := range b.desk.Tick() {
			b.load(w.Device)
		}
		b.store()
	}
}

func (b *bench) load(id ident.DeviceID) {
	var all []Record
	for _, r := range b.stored {
		all = append(all, r)
	}
	b.desk.Load(b.tenant, id, all)
}

func (b *bench) record(name string, change func(*Record)) Record {
	id := ident.Derive(ident.ID{1}, name)
	b.names[id] = name
	r := Record{ID: id, Tenant: b.tenant, Device: b.device, Method: "m", Params: "1", Created: b.now.UnixMilli(), Expires: b.now.Add(time.Minute).UnixMilli(), Retries: -1}
	if change != nil {
		change(&r)
	}
	return r
}

func isOneWay(r *Record)     { r.OneWay = true }
func isPersistent(r *Record) { r.Persistent = true }

func lasting(d time.Duration) func(*Record) {
	return func(r *Record) { r.Persistent, r.Expires = true, r.Created+d.Milliseconds() }
}

// ask has a chain ask, and stores.
func (b *bench) ask(name string, change func(*Record)) error {
	b.t.Helper()
	r := b.record(name, change)
	now, err := b.desk.Ask(r, func(o Outcome) { b.note("chain %s: %s%s", name, o.Error, o.Payload) })
	if now != nil {
		b.note("chain %s at once: %s", name, o(*now))
	}
	b.store()
	return err
}

func o(outcome Outcome) string {
	if strings.HasPrefix(outcome.Payload, `{"rpcId"`) {
		return "taken"
	}
	return string(outcome.Error) + outcome.Payload
}

// call has somebody call, and the chain ask.
func (b *bench) call(name string, change func(*Record)) error {
	b.t.Helper()
	if err := b.desk.Expect(b.record(name, change), bus.Record{Message: bus.Message{Topic: name}}); err != nil {
		return err
	}
	return b.ask(name, change)
}

// open gives the device a session.
func (b *bench) open(name string, once bool) state.Session {
	s := state.Session{ID: ident.Derive(ident.ID{2}, name), Node: name, RPC: true, Once: once}
	b.names[s.ID] = name
	b.sessions = append(b.sessions, s)
	if b.desk.Subscribed(b.device, s) && once {
		b.sessions = slices.DeleteFunc(b.sessions, func(o state.Session) bool { return o.ID == s.ID })
	}
	b.store()
	return s
}

func (b *bench) end(s state.Session) {
	b.sessions = slices.DeleteFunc(b.sessions, func(o state.Session) bool { return o.ID == s.ID })
	b.desk.Ended(b.device, s.ID)
	b.store()
}

func (b *bench) progress(s state.Session, name string, stage sluicepb.RpcStage) {
	b.t.Helper()
	id := ident.Derive(ident.ID{1}, name)
	at := slices.IndexFunc(b.sent, func(r *sluicepb.RpcRequest) bool { return ident.ID(r.GetRpcId()) == id })
	if at < 0 {
		b.t.Fatalf("%s was not sent", name)
	}
	b.desk.Progress(b.device, &sluicepb.RpcProgress{SessionId: s.ID[:], RequestId: b.sent[at].GetRequestId(), RpcId: id[:], Stage: stage})
	b.store()
}

const (
	sent      = sluicepb.RpcStage_RPC_SENT
	delivered = sluicepb.RpcStage_RPC_DELIVERED
	timedOut  = sluicepb.RpcStage_RPC_TIMED_OUT
	unsent    = sluicepb.RpcStage_RPC_UNSENT
)

func TestWhatIsNotAcknowledgedIsSentAgain(t *testing.T) {
	b := newBench(t, func(s *Settings) { s.Retries = 3 })
	s := b.open("mqtt", false)
	_ = b.ask("a", lasting(time.Hour))
	b.want("chain a at once: taken", "a is QUEUED", "mqtt is sent a")
	began := b.now
	for _, after := range []time.Duration{0, 10 * time.Second, 20 * time.Second} {
		b.progress(s, "a", sent)
		b.pass(9 * time.Second)
		b.progress(s, "a", timedOut)
		if after > 0 {
			b.want("a is SENT", "a is TIMEOUT")
			b.pass(after - time.Second)
			b.want()
			b.pass(time.Second)
			b.want("mqtt is sent a again")
			continue
		}
		b.want("a is SENT", "mqtt is sent a again", "a is TIMEOUT")
	}
	b.progress(s, "a", timedOut)
	b.want("a is FAILED")
	if b.now.Sub(began) < 50*time.Second || b.desk.Durable() != 0 {
		t.Errorf("given up after %v, %d left", b.now.Sub(began), b.desk.Durable())
	}
	b.open("later", false)
	b.want()
}

// TestARequestSaysItsRetries: none, and the session is closed where that is set.
func TestARequestSaysItsRetries(t *testing.T) {
	for closing, want := range map[bool][]string{
		false: {"a is FAILED"}, true: {"mqtt is closed", "a is QUEUED", "next is sent a again"},
	} {
		b := newBench(t, func(s *Settings) { s.CloseUndelivered = closing })
		s := b.open("mqtt", false)
		_ = b.ask("a", func(r *Record) { isPersistent(r); r.Retries = 0 })
		b.progress(s, "a", sent)
		b.lines = nil
		b.progress(s, "a", timedOut)
		if closing {
			b.end(s)
			b.open("next", false)
		}
		b.want(want...)
	}
}

// F23: whoever had the request says nothing any more, for longer than all retries would take. Its device gets it all the same.
func TestF23ASilentTransportCostsNoRetry(t *testing.T) {
	b := newBench(t, nil)
	s := b.open("mqtt", false)
	_ = b.ask("a", lasting(time.Hour))
	b.progress(s, "a", sent)
	b.lines = nil
	b.pass(30 * time.Minute)
	for _, line := range b.lines {
		if line != "mqtt is sent a again" {
			t.Error(line)
		}
	}
	if n := len(b.lines); n < 100 || n > 121 { // every 15 s
		t.Errorf("sent %d times within half an hour", n)
	}
	b.lines = nil
	b.end(s)
	b.open("other", false)
	b.want("a is QUEUED", "other is sent a again")
}

func TestADeviceThatWasAwayGetsItsRequests(t *testing.T) {
	b := newBench(t, nil)
	_ = b.ask("a", lasting(time.Hour))
	_ = b.ask("b", lasting(30*time.Minute))
	b.lines = nil
	b.pass(31 * time.Minute)
	b.want("b is EXPIRED")
	b.open("mqtt", false)
	b.want("mqtt is sent a")
}

func TestSubmitStrategies(t *testing.T) {
	for strategy, want := range map[Submit][]string{
		Burst:      {"mqtt is sent a", "mqtt is sent b", "mqtt is sent c", "a is SENT", "a is DELIVERED", "a is SUCCESSFUL"},
		OnAck:      {"mqtt is sent a", "a is SENT", "a is DELIVERED", "mqtt is sent b", "a is SUCCESSFUL"},
		OnResponse: {"mqtt is sent a", "a is SENT", "a is DELIVERED", "a is SUCCESSFUL", "mqtt is sent b"},
	} {
		t.Run(string(strategy), func(t *testing.T) {
			b := newBench(t, func(s *Settings) { s.Submit = strategy })
			for _, name := range []string{"a", "b", "c"} {
				_ = b.ask(name, isPersistent)
			}
			b.lines = nil
			s := b.open("mqtt", false)
			b.progress(s, "a", sent)
			b.progress(s, "a", delivered)
			b.desk.Reply(b.device, &sluicepb.RpcReply{RequestId: 0, Payload: "1"})
			b.store()
			slices.Sort(want)
			slices.Sort(b.lines)
			b.want(want...)
			if strategy == OnResponse { // what is in the way and expires is in the way no more
				b.pass(time.Minute)
				b.lines = nil
			}
		})
	}
}

func TestOneWayEndsWithItsDelivery(t *testing.T) {
	b := newBench(t, nil)
	s := b.open("mqtt", false)
	_ = b.call("a", func(r *Record) { isPersistent(r); isOneWay(r) })
	b.progress(s, "a", sent)
	b.progress(s, "a", delivered)
	id := ident.Derive(ident.ID{1}, "a").String()
	b.want("chain a at once: taken", "a is QUEUED", "caller a: {rpcId:"+id+"}", "mqtt is sent a", "a is SENT", "a is DELIVERED")
	_ = b.call("b", isOneWay)
	b.want("mqtt is sent b", "caller b: sent", "chain b at once: ")
	b.end(s)
	_ = b.call("c", isOneWay)
	b.want()
	b.open("next", false)
	b.want("next is sent c", "caller c: sent", "chain c: ")
	if b.desk.Pending()+b.desk.Durable() != 0 {
		t.Errorf("%d and %d are left", b.desk.Pending(), b.desk.Durable())
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	b := newBench(t, nil)
	s := b.open("mqtt", false)
	_ = b.call("a", nil)
	_ = b.ask("b", isPersistent)
	b.lines = nil
	b.progress(s, "a", unsent)
	b.progress(s, "b", unsent)
	b.want("caller a: INTERNAL", "chain a: INTERNAL", "b is FAILED")
}

// A request that a session has is sent to the next session, but to no poll: the device may be at it.
func TestWhoGetsARequestOnceMore(t *testing.T) {
	b := newBench(t, nil)
	b.open("poll-1", true)
	_ = b.call("a", nil)
	b.open("poll-2", true)
	b.want("poll-1 is sent a")
	b.open("mqtt", false)
	b.want("mqtt is sent a again")
	b.pass(time.Minute)
	b.want("caller a: TIMEOUT", "chain a: TIMEOUT")
}

func TestReportsOfAnOldSessionChangeNothing(t *testing.T) {
	b := newBench(t, func(s *Settings) { s.Retries = 0 })
	old := b.open("old", false)
	_ = b.ask("a", isPersistent)
	b.end(old)
	b.open("new", false)
	b.lines = nil
	b.progress(old, "a", timedOut)
	b.want()
	stranger := ident.New()
	b.desk.Progress(b.device, &sluicepb.RpcProgress{RequestId: 0, RpcId: stranger[:], Stage: delivered})
	b.desk.Progress(ident.DeviceID{ID: stranger}, &sluicepb.RpcProgress{Stage: delivered})
	b.desk.Reply(ident.DeviceID{ID: stranger}, &sluicepb.RpcReply{})
	b.store()
	b.want()
}

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(*Settings)
		change func(*Record)
		kind   fault.Kind
	}{
		"of a device":                 {func(s *Settings) { s.Pending = 2 }, nil, fault.Limited},
		"of a partition":              {func(s *Settings) { s.PendingPartition = 2 }, nil, fault.Limited},
		"persistent of a device":      {func(s *Settings) { s.Persistent = 2 }, isPersistent, fault.Limited},
		"persistent of a partition":   {func(s *Settings) { s.PersistentPartition = 2 }, isPersistent, fault.Limited},
		"bytes of a partition":        {func(s *Settings) { s.PendingBytes = 2 * (512 + 2) }, nil, fault.Limited},
		"bytes of one, after the two": {func(s *Settings) { s.Bytes = 100 }, func(r *Record) { r.Params = strings.Repeat("1", 40) }, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.set)
			for _, request := range []string{"a", "b"} {
				if err := b.call(request, c.change); err != nil {
					t.Fatal(err)
				}
			}
			third := c.change
			if c.kind == fault.Invalid {
				third = func(r *Record) { r.Params = strings.Repeat("1", 100) }
			}
			b.lines = nil
			if err := b.ask("c", third); fault.KindOf(err) != c.kind {
				t.Errorf("a chain is refused with %v", err)
			}
			if err := b.call("d", third); fault.KindOf(err) != c.kind {
				t.Errorf("a caller is refused with %v", err)
			}
			b.want()
			b.pass(2 * time.Minute)
			if err := b.call("e", c.change); err != nil {
				t.Errorf("when the others are over: %v", err)
			}
		})
	}
}

func TestOnlySoManyEndedOnesAreKept(t *testing.T) {
	b := newBench(t, func(s *Settings) { s.Kept = 2 })
	b.desk.Load(b.tenant, b.device, nil)
	for i, name := range []string{"a", "b", "c"} {
		_ = b.ask(name, lasting(time.Duration(i+1)*time.Second))
	}
	b.lines = nil
	b.pass(time.Minute)
	b.want("a is EXPIRED", "b is EXPIRED", "c is EXPIRED", "a is forgotten")
	b.desk.Remove(b.stored[ident.Derive(ident.ID{1}, "b")])
	b.store()
	if b.want("b is DELETED"); len(b.stored) != 1 {
		t.Errorf("stored %v", b.stored)
	}
}

// A new owner hears of a request only when its device does, or it expires; what comes a second time is not sent twice.
func TestANewOwner(t *testing.T) {
	b := newBench(t, nil)
	_ = b.call("a", isPersistent)
	_ = b.call("b", func(r *Record) { isPersistent(r); r.Expires += 60_000 })
	b.restart()
	for _, r := range b.stored {
		b.desk.Await(b.tenant, b.device, r.Expires)
	}
	if !b.desk.Awaited(b.device) || b.desk.Durable() != 2 {
		t.Fatalf("%d are awaited", b.desk.Durable())
	}
	b.lines = nil
	b.pass(time.Minute)
	b.want("a is EXPIRED")
	if err := b.call("b", isPersistent); err != nil {
		t.Fatal(err)
	}
	id := ident.Derive(ident.ID{1}, "b").String()
	b.want("caller b: {rpcId:"+id+"}", "chain b at once: taken")
	b.open("mqtt", false)
	b.want("mqtt is sent b")
	if n := b.sent[len(b.sent)-1].GetRequestId(); n != 1 {
		t.Errorf("its number is %d now", n)
	}
}

func TestADeviceThatIsGone(t *testing.T) {
	b := newBench(t, nil)
	_ = b.call("a", nil)
	_ = b.call("b", isPersistent)
	if err := b.desk.Expect(b.record("c", nil), bus.Record{Message: bus.Message{Topic: "c"}}); err != nil {
		t.Fatal(err)
	}
	b.lines = nil
	left := b.desk.Drop(b.device)
	b.want("caller a: NOT_FOUND", "chain a: NOT_FOUND", "caller c: NOT_FOUND")
	if len(left) != 1 || b.names[left[0].ID] != "b" || b.desk.Pending()+b.desk.Durable() != 0 || !b.desk.Due().IsZero() {
		t.Errorf("left are %v, %d and %d, due %v", left, b.desk.Pending(), b.desk.Durable(), b.desk.Due())
	}
}

func TestACallThatIsPendingIsRefusedASecondTime(t *testing.T) {
	b := newBench(t, nil)
	_ = b.call("a", nil)
	if err := b.call("a", nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
	if err := b.ask("a", nil); err != nil { // a chain that begins anew
		t.Error(err)
	}
	b.open("mqtt", false)
	b.want("mqtt is sent a")
	if err := b.ask("late", func(r *Record) { r.Expires = r.Created }); err == nil {
		t.Error("an expired request is taken")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	if err := DefaultSettings().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Settings){
		"--rpc-pending:": func(s *Settings) { s.Pending = 0 }, "--rpc-retries:": func(s *Settings) { s.Retries = -1 },
		"--rpc-acknowledge:": func(s *Settings) { s.Acknowledge = 0 },
	} {
		s := DefaultSettings()
		change(&s)
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s %v", name, err)
		}
	}
}
