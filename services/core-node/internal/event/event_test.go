package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	store  storage.Store
	clock  *storagetest.Clock
	writer *event.Writer
	reader *event.Reader
	tenant ident.TenantID
	node   ident.EntityID
	stop   func()
}

func start(t *testing.T, s event.Settings) world {
	t.Helper()
	w := world{
		clock: storagetest.NewClock(), tenant: ident.TenantID{ID: ident.New()},
		node: ident.EntityID{Type: ident.RuleNode, ID: ident.New()},
	}
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	w.writer = event.NewWriter(event.Options{Rows: store, Settings: s, Now: w.clock.Now})
	w.reader = event.NewReader(store, s, w.clock.Now)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.writer.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		w.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w world) put(t *testing.T, kind string, body any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w.writer.Put(event.Event{Tenant: w.tenant, Entity: w.node, Type: kind, Time: w.clock.Now().UnixMilli(), Body: text})
}

func (w world) find(t *testing.T, q event.Query) (texts []string, total int) {
	t.Helper()
	q.Tenant, q.Entity = w.tenant, w.node
	if q.Size == 0 {
		q.Size = 100
	}
	page, err := w.reader.Find(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	texts = []string{}
	for _, s := range page.Items {
		var body event.RuleNodeBody
		if err := json.Unmarshal(s.Body, &body); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, body.Data)
	}
	return texts, page.Total
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected (-want +got):\n%s", diff)
	}
}

func TestEventsComeNewestFirstByPage(t *testing.T) {
	w := start(t, event.Settings{})
	begin := w.clock.Now().UnixMilli()
	for i := range 30 { // over two days
		w.put(t, event.DebugRuleNode, event.RuleNodeBody{Data: fmt.Sprint(i)})
		w.clock.Advance(time.Hour)
	}
	w.stop()
	got, total := w.find(t, event.Query{Type: event.DebugRuleNode, Page: 1, Size: 3})
	same(t, got, []string{"26", "25", "24"})
	same(t, total, 30)
	got, total = w.find(t, event.Query{Type: event.DebugRuleNode, Size: 3, OldestFirst: true})
	same(t, got, []string{"0", "1", "2"})
	same(t, total, 30)
	hour := time.Hour.Milliseconds()
	got, total = w.find(t, event.Query{Type: event.DebugRuleNode, Start: begin + 10*hour, End: begin + 12*hour})
	same(t, got, []string{"12", "11", "10"})
	same(t, total, 3)
	_, total = w.find(t, event.Query{Type: event.Lifecycle})
	same(t, total, 0)
	page, err := w.reader.Find(t.Context(), event.Query{Tenant: ident.TenantID{ID: ident.New()}, Entity: w.node, Type: event.DebugRuleNode, Size: 10})
	if err != nil || page.Total != 0 {
		t.Errorf("another tenant finds %d, %v", page.Total, err)
	}
	w.clock.Advance(7*24*time.Hour - 3*time.Hour)
	_, total = w.find(t, event.Query{Type: event.DebugRuleNode})
	same(t, total, 2)
}

func TestFilters(t *testing.T) {
	w := start(t, event.Settings{})
	w.put(t, event.DebugRuleNode, event.RuleNodeBody{
		Server: "node-1", Type: "IN", EntityID: "id-1", EntityType: "DEVICE", MsgID: "m-1", MsgType: "POST_TELEMETRY_REQUEST",
		Data: `{"temp":1}`, Metadata: `{"deviceName":"A"}`,
	})
	w.clock.Advance(time.Millisecond)
	w.put(t, event.DebugRuleNode, event.RuleNodeBody{
		Server: "node-2", Type: "OUT", EntityID: "id-2", EntityType: "ASSET", MsgID: "m-2", MsgType: "ALARM",
		RelationType: "Failure", Data: `{"hum":2}`, Metadata: `{"deviceName":"B"}`, Error: "It broke",
	})
	w.stop()
	for filter, want := range map[string]int{
		`{}`: 2, `{"server":"NODE-1"}`: 1, `{"isError":true}`: 1, `{"isError":false}`: 2, `{"errorStr":"broke"}`: 1,
		`{"msgDirectionType":"IN"}`: 1, `{"entityId":"id-2"}`: 1, `{"entityType":"ASSET"}`: 1, `{"msgId":"m-1"}`: 1, `{"msgId":"m"}`: 0,
		`{"msgType":"telemetry"}`: 1, `{"relationType":"fail"}`: 1, `{"dataSearch":"hum"}`: 1, `{"metadataSearch":"\"B\""}`: 1,
		`{"msgDirectionType":"OUT","dataSearch":"temp"}`: 0,
	} {
		var f event.Filter
		if err := json.Unmarshal([]byte(filter), &f); err != nil {
			t.Fatal(err)
		}
		if _, total := w.find(t, event.Query{Type: event.DebugRuleNode, Filter: f}); total != want {
			t.Errorf("%s finds %d, want %d", filter, total, want)
		}
	}
	in := "IN"
	last, found, err := w.reader.Last(t.Context(), w.tenant, w.node, event.DebugRuleNode, event.Filter{MsgDirectionType: &in})
	if err != nil || !found || !strings.Contains(string(last.Body), "m-1") {
		t.Errorf("the last one in is %s, %v, %v", last.Body, found, err)
	}
}

func TestClear(t *testing.T) {
	w := start(t, event.Settings{})
	begin := w.clock.Now().UnixMilli()
	for i := range 700 {
		w.put(t, event.DebugRuleNode, event.RuleNodeBody{Data: fmt.Sprint(i)})
		w.clock.Advance(time.Second)
	}
	w.stop()
	text := "69"
	for _, step := range []struct {
		query event.Query
		left  int
	}{
		{event.Query{Type: event.DebugRuleNode, Filter: event.Filter{DataSearch: &text}}, 683}, // 69, 169 … 669 and 690 … 699
		{event.Query{Type: event.DebugRuleNode, Start: begin, End: begin + 599_000}, 83 + 6},
		{event.Query{Type: event.Lifecycle}, 83 + 6},
		{event.Query{Type: event.DebugRuleNode}, 0},
	} {
		step.query.Tenant, step.query.Entity = w.tenant, w.node
		if err := w.reader.Clear(t.Context(), step.query); err != nil {
			t.Fatal(err)
		}
		if _, total := w.find(t, event.Query{Type: event.DebugRuleNode}); total != step.left {
			t.Errorf("%d left after %+v, want %d", total, step.query, step.left)
		}
	}
}

func TestPagesLookThroughABoundedNumber(t *testing.T) {
	s := event.DefaultSettings()
	s.Scan = 5
	w := start(t, s)
	for i := range 9 {
		w.put(t, event.DebugRuleNode, event.RuleNodeBody{Data: fmt.Sprint(i)})
		w.clock.Advance(time.Second)
	}
	w.stop()
	got, total := w.find(t, event.Query{Type: event.DebugRuleNode})
	same(t, got, []string{"8", "7", "6", "5", "4"})
	same(t, total, 5)
}

// away is a store that takes nothing.
type away struct {
	storage.Rows
	asked int
}

func (a *away) ChangeRows(context.Context, string, []storage.Row, [][]byte, time.Duration) error {
	a.asked++
	return errors.Join(storage.ErrUnavailable)
}

func TestDroppedEventsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		rows := &away{}
		s := event.Settings{TTL: time.Hour, Pending: 10, BodyBytes: 100, Hourly: 15, Scan: 10}
		w := event.NewWriter(event.Options{Rows: rows, Settings: s, Metrics: metrics})
		tenant := ident.TenantID{ID: ident.New()}
		put := func(kind, body string) {
			w.Put(event.Event{Tenant: tenant, Entity: ident.EntityID{Type: ident.RuleNode}, Type: kind, Body: json.RawMessage(body)})
		}
		put(event.Lifecycle, strings.Repeat("x", 101)) // large
		for range 12 {
			put(event.DebugRuleNode, "{}") // two more than can wait
		}
		for range 5 {
			put(event.DebugRuleChain, "{}") // three of which find no room, two are beyond the hour
		}
		if !w.Spent(tenant) || w.Spent(ident.TenantID{ID: ident.New()}) {
			t.Error("the tenant has not spent its hour, or another has")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(time.Minute)
		put(event.DebugRuleNode, "{}")
		time.Sleep(time.Hour)
		put(event.DebugRuleNode, "{}") // another hour, other events
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want := `
# HELP sluice_events_dropped_total Debug and lifecycle events not stored, by reason.
# TYPE sluice_events_dropped_total counter
sluice_events_dropped_total{reason="full"} 5
sluice_events_dropped_total{reason="large"} 1
sluice_events_dropped_total{reason="rate"} 4
sluice_events_dropped_total{reason="store"} 11
`
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "sluice_events_dropped_total"); err != nil {
			t.Error(err)
		}
	})
}

func TestCutKeepsWholeCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"short": "short", "seven..": "seven..", "äöüß": "äöü...[truncated 2 bytes]", "longer than it": "longer ...[truncated 7 bytes]",
	} {
		if got := event.Cut(text, 7); got != want {
			t.Errorf("%q is cut to %q, want %q", text, got, want)
		}
	}
}
