package ingest

import (
	"context"
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
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func (w *world) tell(d entity.Device, m *sluicepb.CoreMessage) {
	w.t.Helper()
	m.TenantId, m.Entity = d.Tenant.ID[:], &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]}
	value, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(bus.Message{Topic: topics.Core, Key: d.ID.ID[:], Value: value})
}

// told waits until everything told is done with.
func (w *world) told() {
	w.t.Helper()
	count := int64(len(w.bus.of(topics.Core)))
	w.eventually("what was told committed", func() bool { return w.bus.committed(topics.Core, 0).offset == count })
}

// answer is the last answer to a call.
func (w *world) answer() *sluicepb.CoreAnswer {
	w.t.Helper()
	w.told()
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	if len(w.bus.answers) == 0 {
		w.t.Fatal("no call was answered")
	}
	answered := &sluicepb.CoreAnswer{}
	if err := proto.Unmarshal(w.bus.answers[len(w.bus.answers)-1], answered); err != nil {
		w.t.Fatal(err)
	}
	return answered
}

func (w *world) attributes(d entity.Device, scope storage.Scope) map[string]telemetry.Value {
	w.t.Helper()
	entries, err := w.store.Attributes(w.t.Context(), d.ID.Entity(), scope, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]telemetry.Value{}
	for _, e := range entries {
		all[e.Key] = e.Value
	}
	return all
}

func long(key string, n int64) []*sluicepb.KeyValue {
	return telemetry.ToProto([]telemetry.KeyValue{{Key: key, Value: telemetry.OfLong(n)}})
}

func saveAttributes(scope, key string, n int64) *sluicepb.CoreMessage {
	return &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SaveAttributes{
		SaveAttributes: &sluicepb.SaveAttributes{Scope: scope, Values: long(key, n)},
	}}
}

func open(session ident.ID, node string) *sluicepb.CoreMessage {
	return &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SessionOpened{SessionOpened: &sluicepb.SessionOpened{
		SessionId: session[:], TransportNode: node, OpenedAtMs: time.Now().UnixMilli(), Transport: "MQTT",
	}}}
}

func (w *world) downlinks(node string) []*sluicepb.DeviceDownlink {
	w.t.Helper()
	var all []*sluicepb.DeviceDownlink
	for _, r := range w.bus.of(topics.TransportResponses + node) {
		down := &sluicepb.DeviceDownlink{}
		if err := proto.Unmarshal(r.Value, down); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, down)
	}
	return all
}

func TestADeviceReadsWhatPeopleSaved(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.tell(d, saveAttributes("SHARED_SCOPE", "s", 1))
	w.tell(d, saveAttributes("CLIENT_SCOPE", "c", 2))
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_AttributesRequest{
		AttributesRequest: &sluicepb.AttributesRequest{AllShared: true, ClientKeys: []string{"c", "none"}},
	}})
	w.start() // one pack: the request must see what comes before it
	want := &sluicepb.CoreAnswer{SharedAttributes: long("s", 1), ClientAttributes: long("c", 2)}
	if got := w.answer(); !proto.Equal(got, want) {
		t.Errorf("answered %v", got)
	}
	if len(w.bus.answers) != 3 {
		t.Errorf("%d of 3 calls answered", len(w.bus.answers))
	}
	w.addsUp()
}

func TestSessionsHearOfSharedAttributes(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	first, second := ident.New(), ident.New()
	w.tell(d, open(first, "mqtt-1"))
	w.tell(d, open(second, "mqtt-2"))
	w.tell(d, saveAttributes("SHARED_SCOPE", "s", 1))
	w.tell(d, saveAttributes("SERVER_SCOPE", "not for devices", 1))
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteAttributes{
		DeleteAttributes: &sluicepb.DeleteAttributes{Scope: "SHARED_SCOPE", Keys: []string{"s"}},
	}})
	w.start()
	w.told()
	taken := w.downlinks("mqtt-1")
	if len(taken) != 1 || taken[0].GetCloseSession().GetReason() != sluicepb.CloseReason_TAKEN_OVER || ident.ID(taken[0].GetSessionId()) != first {
		t.Errorf("the first session was told %v", taken)
	}
	heard := w.downlinks("mqtt-2")
	if len(heard) != 2 || !proto.Equal(heard[0].GetAttributesUpdated(), &sluicepb.AttributesUpdated{Updated: long("s", 1)}) ||
		!proto.Equal(heard[1].GetAttributesUpdated(), &sluicepb.AttributesUpdated{Deleted: []string{"s"}}) {
		t.Errorf("the second session was told %v", heard)
	}
	if left := w.attributes(d, storage.Shared); len(left) != 0 {
		t.Errorf("shared attributes left: %v", left)
	}
	server := w.attributes(d, storage.Server)
	if !server["active"].Bool() || server["lastConnectTime"].Long() == 0 {
		t.Errorf("server attributes: %v", server)
	}
}

func TestADeletedDeviceLeavesNothing(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	session := ident.New()
	w.tell(d, open(session, "mqtt-1"))
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1))))
	w.start()
	w.done(1)
	w.told()
	w.devices.mu.Lock()
	delete(w.devices.known, d.ID)
	w.devices.mu.Unlock()
	if err := (Lifecycle{w.bus}).Happened(t.Context(), entity.Change{Kind: entityDeleted, Tenant: d.Tenant, Originator: d.ID.Entity()}); err != nil {
		t.Fatal(err)
	}
	w.told()
	if down := w.downlinks("mqtt-1"); len(down) != 1 || down[0].GetCloseSession().GetReason() != sluicepb.CloseReason_DEVICE_DELETED {
		t.Errorf("its session was told %v", down)
	}
	w.send(w.uplink(d, reading(2, "t", telemetry.OfLong(2)))) // was on its way
	w.done(2)
	if points := w.points(d, "t"); len(points) != 0 || len(w.attributes(d, storage.Server)) != 0 {
		t.Errorf("left: %v, %v", points, w.attributes(d, storage.Server))
	}
	w.addsUp()
}

func TestANewDeviceIsInactive(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.start()
	if err := (Lifecycle{w.bus}).Happened(t.Context(), entity.Change{Kind: entityCreated, Tenant: d.Tenant, Originator: d.ID.Entity()}); err != nil {
		t.Fatal(err)
	}
	w.told()
	if active, ok := w.attributes(d, storage.Server)["active"]; !ok || active.Bool() {
		t.Errorf("active is %v", active)
	}
}

func TestTelemetryOfPeople(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	save := &sluicepb.SaveTelemetry{}
	for n := range int64(5) {
		save.Records = append(save.Records, &sluicepb.TimedValues{TimeMs: n, Values: long("t", n)})
	}
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SaveTelemetry{SaveTelemetry: save}})
	w.start()
	if got := w.answer(); got.GetFault() != nil || len(w.points(d, "t")) != 5 {
		t.Fatalf("answered %v, stored %v", got, w.points(d, "t"))
	}
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteTelemetry{DeleteTelemetry: &sluicepb.DeleteTelemetry{
		Keys: []string{"t"}, StartMs: 3, EndMs: 10, DeleteLatest: true, RewriteLatestIfDeleted: true,
	}}})
	if got := w.answer(); got.GetFault() != nil || len(w.points(d, "t")) != 3 {
		t.Errorf("answered %v, left %v", got, w.points(d, "t"))
	}
	latest := func() []storage.Entry {
		entries, err := w.store.Latest(t.Context(), d.ID.Entity(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if l := latest(); len(l) != 1 || l[0].Time != 2 || l[0].Long() != 2 {
		t.Errorf("latest is %v", l)
	}
	var gone []live.Update
	defer w.hub.Watch(d.ID.Entity(), func(u live.Update) { gone = append(gone, u) })()
	w.tell(d, &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_DeleteTelemetry{DeleteTelemetry: &sluicepb.DeleteTelemetry{
		Keys: []string{"t"}, AllData: true, DeleteLatest: true,
	}}})
	w.answer()
	w.halt()
	if len(w.points(d, "t"))+len(latest()) != 0 || len(gone) != 1 || len(gone[0].Deleted) != 1 {
		t.Errorf("left %v and %v, watchers told %v", w.points(d, "t"), latest(), gone)
	}
}

func TestBadCallsAreAnswered(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.store.failing(refusing("bad", storage.ErrInvalid))
	w.start()
	for _, m := range []*sluicepb.CoreMessage{
		saveAttributes("MY_SCOPE", "k", 1),
		saveAttributes("SERVER_SCOPE", "bad", 1),
		{Body: &sluicepb.CoreMessage_DeleteAttributes{DeleteAttributes: &sluicepb.DeleteAttributes{Scope: "x"}}},
		{},
	} {
		w.tell(d, m)
		if got := w.answer(); fault.Kind(got.GetFault().GetKind()) != fault.Invalid {
			t.Errorf("%v is answered %v", m, got)
		}
	}
	w.publish(bus.Message{Topic: topics.Core, Key: []byte("k"), Value: []byte{0xff}})
	w.publish(bus.Message{Topic: topics.Core, Key: []byte("k")})
	w.told()
	if letters := w.letters(); len(letters) != 2 {
		t.Errorf("dead letters: %v", letters)
	}
	w.addsUp()
}

// TestEventsTakeTheChain has a chain that saves the connectivity events' bodies as attributes.
func TestEventsTakeTheChain(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.chain = []byte(strings.ReplaceAll(string(w.chain), `"type": "Other"`, `"type": "Activity Event"`))
	var kinds []string
	for i := range w.kinds {
		if strings.HasSuffix(w.kinds[i].Class, "TbLogNode") {
			w.kinds[i].New = recordTypes(&kinds)
		}
	}
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1))))
	w.send(w.uplink(d, reading(2, "t", telemetry.OfLong(1))))
	w.start()
	w.done(2)
	w.halt()
	if diff := cmp.Diff([]string{"ACTIVITY_EVENT A"}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestOldSilenceIsFoundAtTheStart(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	d.CreatedTime = time.Now().Add(-time.Hour).UnixMilli()
	w.devices.known[d.ID] = d
	err := w.store.Write(context.Background(), []storage.Write{{
		Entity: d.ID.Entity(), Scope: storage.Server, Time: 1, Stamp: 1, Values: []telemetry.KeyValue{
			{Key: "active", Value: telemetry.OfBool(true)}, {Key: "lastActivityTime", Value: telemetry.OfLong(d.CreatedTime)},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	w.eventually("the device to be found silent", func() bool { return !w.attributes(d, storage.Server)["active"].Bool() })
}
