package deadletter_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// letter is one of an uplink whose second message failed.
func letter(offset int64) *sluicepb.DeadLetter {
	device := ident.DeviceID{ID: ident.New()}
	u := telemetry.Uplink{Tenant: ident.TenantID{ID: ident.New()}, Device: device, Telemetry: []telemetry.Record{
		{Time: 1, Values: []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}}},
		{Time: 2, Values: []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(2)}}},
	}}
	r := bus.Record{Message: bus.Message{Topic: topics.RuleEngine, Key: device.ID[:], Value: telemetry.AppendUplink(nil, &u)}, Offset: offset}
	id := deadletter.NewID(r, 1)
	return &sluicepb.DeadLetter{
		Id: id[:], TenantId: u.Tenant.ID[:], Originator: &sluicepb.EntityId{Type: ident.Device, Id: device.ID[:]}, OriginatorName: "A",
		Topic: r.Topic, Offset: offset, Key: r.Key, Value: r.Value, RecordIndex: 1,
		Error: "boom", Where: "node X", Attempts: 1, FailedAtMs: 1000 + offset,
	}
}

func id(l *sluicepb.DeadLetter) ident.ID { return ident.ID(l.GetId()) }

func newLog(t *testing.T) (*deadletter.Log, *bus.Client) {
	client := bustest.Start(t)
	return &deadletter.Log{Bus: client, Most: 1000, Now: time.Now}, client
}

func write(t *testing.T, client *bus.Client, letters ...*sluicepb.DeadLetter) {
	t.Helper()
	if err := (deadletter.Writer{Bus: client}).Write(t.Context(), letters...); err != nil {
		t.Fatal(err)
	}
}

func listed(t *testing.T, l *deadletter.Log) []ident.ID {
	t.Helper()
	entries, err := l.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]ident.ID, len(entries))
	for i, e := range entries {
		ids[i] = e.ID()
	}
	return ids
}

func TestLettersAreListedUntilTheyAreSettled(t *testing.T) {
	log, client := newLog(t)
	first, second, third := letter(1), letter(2), letter(3)
	write(t, client, first, second, third, first) // the first failed again after a redelivery: one letter
	if got := listed(t, log); len(got) != 3 || got[0] != id(third) || got[2] != id(first) {
		t.Fatalf("listed: %v", got)
	}
	if err := log.Discard(t.Context(), id(second)); err != nil {
		t.Fatal(err)
	}
	if err := log.Replay(t.Context(), id(third)); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, log); len(got) != 1 || got[0] != id(first) {
		t.Errorf("after a replay and a discard: %v", got)
	}
	if err := log.Replay(t.Context(), id(third)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("replayed twice: %v", err)
	}
	if err := log.Discard(t.Context(), ident.New()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("discarded what is not there: %v", err)
	}
	write(t, client, third) // it failed again after its replay
	if got := listed(t, log); len(got) != 2 {
		t.Errorf("after it failed again: %v", got)
	}
}

func TestAReplayIsTheMessageAsItWas(t *testing.T) {
	log, client := newLog(t)
	l := letter(1)
	write(t, client, l)
	if err := log.Replay(t.Context(), id(l)); err != nil {
		t.Fatal(err)
	}
	reader, err := client.OpenReader(t.Context(), topics.RuleEngine, bus.Partition(l.GetKey(), bustest.Partitions))
	if err != nil {
		t.Fatal(err)
	}
	records, err := reader.Read(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	got := records[0]
	if string(got.Key) != string(l.GetKey()) || string(got.Value) != string(l.GetValue()) ||
		len(got.Headers) != 1 || got.Headers[0].Key != topics.RecordIndexHeader || string(got.Headers[0].Value) != "1" {
		t.Errorf("replayed: %+v", got)
	}
}

func TestTheScanIsBounded(t *testing.T) {
	log, client := newLog(t)
	log.Most = 2
	write(t, client, letter(1), letter(2), letter(3))
	if got := listed(t, log); len(got) != 2 {
		t.Errorf("a scan of 2 lists %d", len(got))
	}
}

func TestNamesTellRecordsApart(t *testing.T) {
	r := bus.Record{Message: bus.Message{Topic: "t", Value: []byte("v")}, Partition: 1, Offset: 2}
	other := r
	other.Offset = 3
	names := map[ident.ID]bool{deadletter.NewID(r, 0): true, deadletter.NewID(r, 1): true, deadletter.NewID(other, 0): true}
	if len(names) != 3 {
		t.Errorf("three places share a name: %v", names)
	}
	if again := r; !names[deadletter.NewID(again, 0)] {
		t.Error("the same place has two names")
	}
}

// routes is an admin listener.
type routes struct{ *http.ServeMux }

func (r routes) Handle(pattern string, h http.Handler) { r.ServeMux.Handle(pattern, h) }

func TestOperatorsRoutes(t *testing.T) {
	log, client := newLog(t)
	mux := routes{http.NewServeMux()}
	log.Register(mux)
	ask := func(method, path string, want int, into any) {
		t.Helper()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, want)
		}
		if into != nil {
			if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
				t.Fatal(err)
			}
		}
	}
	var all []map[string]any
	ask("GET", "/dead-letters", 200, &all)
	if all == nil || len(all) != 0 {
		t.Errorf("none are listed as %v", all)
	}
	l := letter(1)
	write(t, client, l)
	ask("GET", "/dead-letters", 200, &all)
	if len(all) != 1 || all[0]["error"] != "boom" || all[0]["originatorName"] != "A" || all[0]["state"] != "waiting" {
		t.Errorf("listed: %v", all)
	}
	path := "/dead-letters/" + id(l).String()
	var one struct {
		Value   []byte          `json:"value"`
		Message json.RawMessage `json:"message"`
	}
	ask("GET", path, 200, &one)
	if string(one.Message) != `{"ts":2,"values":{"a":2}}` || string(one.Value) != string(l.GetValue()) {
		t.Errorf("shown: %s", one.Message)
	}
	ask("POST", path+"/discard", 200, nil)
	ask("POST", path+"/replay", 409, nil)
	ask("GET", "/dead-letters/"+ident.New().String(), 404, nil)
	ask("GET", "/dead-letters/x", 400, nil)
}

func TestWhatIsNoLetterIsLeftOut(t *testing.T) {
	log, client := newLog(t)
	done := make(chan error, 2)
	marker, err := proto.Marshal(&sluicepb.DeadLetter{Id: make([]byte, 16), Marker: sluicepb.Marker_REPLAYED})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range [][]byte{{0xff}, marker} {
		if err := client.Publish(bus.Message{Topic: topics.DeadLetters, Value: value}, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := listed(t, log); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
}
