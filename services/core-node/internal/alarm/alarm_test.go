package alarm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is alarms over a store that can be killed.
type world struct {
	*alarm.Registry
	store     *killing
	relations *relation.Registry
	clock     *storagetest.Clock
	tenant    ident.TenantID
	device    ident.EntityID
}

// killing fails every write from the n-th on, as a kill would; -1 never.
type killing struct {
	storage.Store
	mu   sync.Mutex
	left int
}

var errKilled = errors.New("killed")

func (k *killing) step() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left < 0 {
		return nil
	}
	if k.left == 0 {
		return errKilled
	}
	k.left--
	return nil
}

func (k *killing) ChangeRows(ctx context.Context, group string, put []storage.Row, remove [][]byte, ttl time.Duration) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.Store.ChangeRows(ctx, group, put, remove, ttl)
}

func (k *killing) Create(ctx context.Context, d storage.Document) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.Store.Create(ctx, d)
}

func (k *killing) Update(ctx context.Context, d storage.Document) (int64, error) {
	if err := k.step(); err != nil {
		return 0, err
	}
	return k.Store.Update(ctx, d)
}

func (k *killing) Delete(ctx context.Context, tenant ident.TenantID, id ident.EntityID, version int64) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.Store.Delete(ctx, tenant, id, version)
}

func start(t *testing.T) world {
	t.Helper()
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := world{store: &killing{Store: store, left: -1}, clock: storagetest.NewClock(), tenant: ident.TenantID{ID: ident.New()}}
	w.device = ident.EntityID{Type: ident.Device, ID: ident.New()}
	w.relations = relation.New(store, relation.DefaultSettings())
	w.Registry = alarm.New(alarm.Options{Store: w.store, Relations: w.relations, Now: w.clock.Now})
	return w
}

func (w world) request() alarm.Request {
	return alarm.Request{Tenant: w.tenant, Originator: w.device, Type: "High Temperature", Severity: alarm.Major, Details: json.RawMessage(`{"t":1}`)}
}

func (w world) raise(t *testing.T, q alarm.Request) alarm.Result {
	t.Helper()
	result, err := w.CreateOrUpdate(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// list returns the ids of a scope's alarms.
func (w world) list(t *testing.T, q alarm.Query) []ident.ID {
	t.Helper()
	q.Tenant = w.tenant
	if q.Size == 0 {
		q.Size = 1000
	}
	page, err := w.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	ids := []ident.ID{}
	for _, a := range page.Items {
		ids = append(ids, a.ID)
	}
	return ids
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected (-want +got):\n%s", diff)
	}
}

func TestOneActiveAlarmOfATypeAtAnEntity(t *testing.T) {
	w := start(t)
	first := w.raise(t, w.request())
	now := w.clock.Now().UnixMilli()
	if first.Outcome != alarm.Created || first.Now.StartTs != now || first.Now.EndTs != now || first.Now.Status() != alarm.ActiveUnack {
		t.Fatalf("created %+v", first)
	}
	if again := w.raise(t, w.request()); again.Outcome != alarm.Unchanged || again.Now.ID != first.Now.ID {
		t.Errorf("the same in the same millisecond gives %+v", again)
	}
	w.clock.Advance(time.Second)
	updated := w.raise(t, w.request())
	if updated.Outcome != alarm.Updated || updated.Now.ID != first.Now.ID || updated.Now.EndTs != now+1000 || updated.Old.EndTs != now || updated.Now.StartTs != now {
		t.Errorf("a second later: %+v", updated)
	}
	worse := w.request()
	worse.Severity, worse.Details = alarm.Critical, nil
	if result := w.raise(t, worse); result.Outcome != alarm.SeverityUpdated || result.Old.Severity != alarm.Major || string(result.Now.Details) != `{"t":1}` {
		t.Errorf("worse: %+v", result)
	}
	other := w.request()
	other.Type = "Low Battery"
	if result := w.raise(t, other); result.Outcome != alarm.Created || result.Now.ID == first.Now.ID {
		t.Errorf("another type: %+v", result)
	}
	cleared, err := w.Clear(t.Context(), w.tenant, first.Now.ID, 0, json.RawMessage(`{"done":true}`))
	if err != nil || cleared.Outcome != alarm.Cleared || cleared.Now.ClearTs == 0 || string(cleared.Now.Details) != `{"done":true}` {
		t.Errorf("cleared: %+v, %v", cleared, err)
	}
	if again, err := w.Clear(t.Context(), w.tenant, first.Now.ID, 0, nil); err != nil || again.Outcome != alarm.Unchanged {
		t.Errorf("cleared again: %+v, %v", again, err)
	}
	if _, err := w.Active(t.Context(), w.tenant, w.device, "High Temperature"); !errors.Is(err, storage.ErrNotFound) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("a cleared alarm is active: %v", err)
	}
	next := w.raise(t, w.request())
	if next.Outcome != alarm.Created || next.Now.ID == first.Now.ID {
		t.Errorf("after it was cleared: %+v", next)
	}
	active, err := w.Active(t.Context(), w.tenant, w.device, "High Temperature")
	if err != nil || active.ID != next.Now.ID {
		t.Errorf("the active one is %v, %v", active.ID, err)
	}
	if _, err := w.Get(t.Context(), ident.TenantID{ID: ident.New()}, first.Now.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("another tenant reads it: %v", err)
	}
}

func TestManyAtOnceMakeOneAlarm(t *testing.T) {
	w := start(t)
	var group sync.WaitGroup
	results := make([]alarm.Result, 20)
	for i := range results {
		group.Go(func() {
			q := w.request()
			q.EndTs = int64(i + 1)
			if i%2 == 0 {
				q.Severity = alarm.Critical
			}
			var err error
			if results[i], err = w.CreateOrUpdate(t.Context(), q); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	created := 0
	for _, r := range results {
		if r.Now.ID != results[0].Now.ID {
			t.Errorf("two alarms: %v and %v", r.Now.ID, results[0].Now.ID)
		}
		if r.Outcome == alarm.Created {
			created++
		}
	}
	same(t, created, 1)
	final, err := w.Get(t.Context(), w.tenant, results[0].Now.ID)
	if err != nil {
		t.Fatal(err)
	}
	// What lists choose by is what the document says.
	for _, severity := range []alarm.Severity{alarm.Critical, alarm.Major} {
		want := []ident.ID{}
		if severity == final.Severity {
			want = append(want, final.ID)
		}
		same(t, w.list(t, alarm.Query{Filter: alarm.Filter{Severities: []alarm.Severity{severity}}}), want)
	}
}

func TestAcknowledgeAssignDelete(t *testing.T) {
	w := start(t)
	id := w.raise(t, w.request()).Now.ID
	user := ident.New()
	for _, step := range []struct {
		name string
		do   func() (alarm.Result, error)
		want alarm.Outcome
	}{
		{"acknowledge", func() (alarm.Result, error) { return w.Acknowledge(t.Context(), w.tenant, id, 0) }, alarm.Updated},
		{"acknowledge again", func() (alarm.Result, error) { return w.Acknowledge(t.Context(), w.tenant, id, 0) }, alarm.Unchanged},
		{"assign", func() (alarm.Result, error) { return w.Assign(t.Context(), w.tenant, id, user) }, alarm.Updated},
		{"assign again", func() (alarm.Result, error) { return w.Assign(t.Context(), w.tenant, id, user) }, alarm.Unchanged},
	} {
		result, err := step.do()
		if err != nil || result.Outcome != step.want {
			t.Errorf("%s: %+v, %v", step.name, result, err)
		}
	}
	a, err := w.Get(t.Context(), w.tenant, id)
	if err != nil || a.Status() != alarm.ActiveAck || a.AckTs == 0 || a.Assignee != user || a.AssignTs == 0 {
		t.Errorf("it is %+v, %v", a, err)
	}
	same(t, w.list(t, alarm.Query{Filter: alarm.Filter{Assignee: user, Statuses: []alarm.SearchStatus{alarm.IsAck}}}), []ident.ID{id})
	if gone, err := w.Delete(t.Context(), w.tenant, id); err != nil || gone.ID != id {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	if _, err := w.Delete(t.Context(), w.tenant, id); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	same(t, w.list(t, alarm.Query{}), []ident.ID{})
	if result := w.raise(t, w.request()); result.Outcome != alarm.Created {
		t.Errorf("after it was deleted: %+v", result)
	}
}

func TestLists(t *testing.T) {
	w := start(t)
	customer := ident.CustomerID{ID: ident.New()}
	var ids []ident.ID
	var times []int64
	for i, severity := range []alarm.Severity{alarm.Warning, alarm.Critical, alarm.Minor, alarm.Major} {
		q := w.request()
		q.Type, q.Severity = fmt.Sprintf("Type %d", i), severity
		if i%2 == 1 {
			q.Customer, q.Originator = customer, ident.EntityID{Type: ident.Asset, ID: ident.New()}
		}
		ids, times = append(ids, w.raise(t, q).Now.ID), append(times, w.clock.Now().UnixMilli())
		w.clock.Advance(time.Minute)
	}
	if _, err := w.Clear(t.Context(), w.tenant, ids[0], 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Acknowledge(t.Context(), w.tenant, ids[1], 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		query alarm.Query
		want  []int
	}{
		"all, the newest first":  {alarm.Query{}, []int{3, 2, 1, 0}},
		"the oldest first":       {alarm.Query{Ascending: true}, []int{0, 1, 2, 3}},
		"a page":                 {alarm.Query{Page: 1, Size: 3}, []int{0}},
		"a page beyond the end":  {alarm.Query{Page: 9, Size: 3}, []int{}},
		"of a customer":          {alarm.Query{Scope: alarm.Scope{Customer: customer}}, []int{3, 1}},
		"of an entity":           {alarm.Query{Scope: alarm.Scope{Entity: w.device}}, []int{2, 0}},
		"within a time":          {alarm.Query{Start: times[1], End: times[2]}, []int{2, 1}},
		"active":                 {alarm.Query{Filter: alarm.Filter{Statuses: []alarm.SearchStatus{alarm.Active}}}, []int{3, 2, 1}},
		"cleared":                {alarm.Query{Filter: alarm.Filter{Statuses: []alarm.SearchStatus{alarm.IsCleared}}}, []int{0}},
		"acknowledged or not":    {alarm.Query{Filter: alarm.Filter{Statuses: []alarm.SearchStatus{alarm.IsAck, alarm.IsUnack}}}, []int{3, 2, 1, 0}},
		"by status":              {alarm.Query{Filter: alarm.Filter{Statuses: []alarm.SearchStatus{"ACTIVE_ACK", "CLEARED_UNACK"}}}, []int{1, 0}},
		"by severity":            {alarm.Query{Filter: alarm.Filter{Severities: []alarm.Severity{alarm.Critical, alarm.Minor}}}, []int{2, 1}},
		"by type":                {alarm.Query{Filter: alarm.Filter{Types: []string{"Type 3", "Type"}}}, []int{3}},
		"by part of a type":      {alarm.Query{Filter: alarm.Filter{Search: "YPE 2"}}, []int{2}},
		"by part of a status":    {alarm.Query{Filter: alarm.Filter{Search: "cleared"}}, []int{0}},
		"in order of type":       {alarm.Query{Sort: "type", Ascending: true}, []int{0, 1, 2, 3}},
		"in order of severity":   {alarm.Query{Sort: "severity", Ascending: true}, []int{1, 3, 2, 0}},
		"in order of originator": {alarm.Query{Sort: "originator", Scope: alarm.Scope{Entity: w.device}}, []int{2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			want := []ident.ID{}
			for _, i := range c.want {
				want = append(want, ids[i])
			}
			same(t, w.list(t, c.query), want)
		})
	}
	if _, err := w.List(t.Context(), alarm.Query{Scope: alarm.Scope{Tenant: w.tenant}, Size: 1, Sort: "nonsense"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown order: %v", err)
	}
	highest, err := w.HighestSeverity(t.Context(), alarm.Scope{Tenant: w.tenant, Entity: w.device}, alarm.Filter{})
	if err != nil || highest != alarm.Minor {
		t.Errorf("the highest severity is %v, %v", highest, err)
	}
	types, err := w.Types(t.Context(), w.tenant, "")
	if err != nil {
		t.Fatal(err)
	}
	same(t, types, []string{"Type 0", "Type 1", "Type 2", "Type 3"})
	if n, err := w.Count(t.Context(), alarm.Query{Scope: alarm.Scope{Tenant: w.tenant}}); err != nil || n != 4 {
		t.Errorf("count is %d, %v", n, err)
	}
}

func TestPropagatedAlarmsAppearUpwards(t *testing.T) {
	w := start(t)
	room, building, manager := asset(), asset(), asset()
	for _, k := range []relation.Key{{From: room, To: w.device, Type: "Contains"}, {From: building, To: room, Type: "Contains"}, {From: manager, To: w.device, Type: "Manages"}} {
		if _, err := w.relations.Save(t.Context(), w.tenant, relation.Relation{Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	customer := ident.CustomerID{ID: ident.New()}
	at := func(e ident.EntityID) []ident.ID { return w.list(t, alarm.Query{Scope: alarm.Scope{Entity: e}}) }
	quiet := w.raise(t, w.request()).Now.ID
	same(t, at(room), []ident.ID{})
	loud := w.request()
	loud.Type, loud.Customer = "Loud", customer
	loud.Propagation = alarm.Propagation{Propagate: true, RelationTypes: []string{"Contains"}}
	w.clock.Advance(time.Second)
	id := w.raise(t, loud).Now.ID
	same(t, at(w.device), []ident.ID{id, quiet})
	for _, e := range []ident.EntityID{room, building} {
		same(t, at(e), []ident.ID{id})
	}
	for _, e := range []ident.EntityID{manager, w.tenant.Entity(), customer.Entity()} {
		same(t, at(e), []ident.ID{})
	}
	loud.Propagation = alarm.Propagation{Propagate: true, PropagateToOwner: true, PropagateToTenant: true}
	w.raise(t, loud)
	for _, e := range []ident.EntityID{room, building, manager, w.tenant.Entity(), customer.Entity()} {
		same(t, at(e), []ident.ID{id})
	}
	if err := w.EntityDeleted(t.Context(), w.tenant, room); err != nil {
		t.Fatal(err)
	}
	same(t, at(building), []ident.ID{id})
	if err := w.EntityDeleted(t.Context(), w.tenant, w.device); err != nil {
		t.Fatal(err)
	}
	for _, e := range []ident.EntityID{w.device, room, building, manager, w.tenant.Entity(), customer.Entity(), {}} {
		same(t, at(e), []ident.ID{})
	}
}

func asset() ident.EntityID { return ident.EntityID{Type: ident.Asset, ID: ident.New()} }

// TestAKillLeavesListsRight kills each act before each of its writes: lists say what documents say.
func TestAKillLeavesListsRight(t *testing.T) {
	acts := map[string]func(w world, id ident.ID) error{
		"create": func(w world, _ ident.ID) error {
			q := w.request()
			q.Type = "new"
			_, err := w.CreateOrUpdate(context.Background(), q)
			return err
		},
		"worsen": func(w world, _ ident.ID) error {
			q := w.request()
			q.Severity = alarm.Critical
			_, err := w.CreateOrUpdate(context.Background(), q)
			return err
		},
		"clear": func(w world, id ident.ID) error {
			_, err := w.Clear(context.Background(), w.tenant, id, 5, nil)
			return err
		},
		"delete": func(w world, id ident.ID) error {
			_, err := w.Delete(context.Background(), w.tenant, id)
			return err
		},
	}
	for name, act := range acts {
		for at := 0; ; at++ {
			w := start(t)
			id := w.raise(t, w.request()).Now.ID
			w.store.left = at
			err := act(w, id)
			w.store.left = -1
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			var stored []alarm.Alarm
			for d, err := range w.store.List(t.Context(), w.tenant, ident.Alarm, ident.ID{}) {
				if err != nil {
					t.Fatal(err)
				}
				a, err := w.Get(t.Context(), w.tenant, d.ID.ID)
				if err != nil {
					t.Fatal(err)
				}
				stored = append(stored, a)
			}
			for _, status := range []alarm.SearchStatus{alarm.Active, alarm.IsCleared} {
				for _, severity := range []alarm.Severity{alarm.Major, alarm.Critical} {
					want := map[ident.ID]bool{}
					for _, a := range stored {
						if a.Cleared == (status == alarm.IsCleared) && a.Severity == severity {
							want[a.ID] = true
						}
					}
					f := alarm.Filter{Statuses: []alarm.SearchStatus{status}, Severities: []alarm.Severity{severity}}
					for _, s := range []alarm.Scope{{}, {Entity: w.device}} {
						got := map[ident.ID]bool{}
						for _, id := range w.list(t, alarm.Query{Scope: s, Filter: f}) {
							got[id] = true
						}
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("%s killed at write %d: %s %s (-documents +list):\n%s", name, at, status, severity, diff)
						}
					}
				}
			}
			if err == nil {
				if at < 3 {
					t.Errorf("%s has only %d writes to be killed at", name, at)
				}
				break
			}
			if n := len(stored); name != "create" && !slices.Contains([]int{0, 1}, n) {
				t.Errorf("%s killed at write %d leaves %d alarms", name, at, n)
			}
		}
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	w := start(t)
	for name, change := range map[string]func(*alarm.Request){
		"no type":       func(q *alarm.Request) { q.Type = "" },
		"long type":     func(q *alarm.Request) { q.Type = string(make([]byte, 300)) },
		"no severity":   func(q *alarm.Request) { q.Severity = "" },
		"bad severity":  func(q *alarm.Request) { q.Severity = "BAD" },
		"no originator": func(q *alarm.Request) { q.Originator = ident.EntityID{} },
		"bad details":   func(q *alarm.Request) { q.Details = json.RawMessage(`{`) },
		"large details": func(q *alarm.Request) { q.Details = json.RawMessage(`"` + string(make([]byte, 300_000)) + `"`) },
	} {
		q := w.request()
		change(&q)
		if _, err := w.CreateOrUpdate(t.Context(), q); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	w := start(t)
	few := alarm.New(alarm.Options{Store: w.store, Relations: w.relations, Settings: alarm.Settings{Scan: 3, Places: 1, Details: 100}})
	for i := range 4 {
		q := w.request()
		q.Type = fmt.Sprint(i)
		w.raise(t, q)
	}
	for range 5 {
		k := relation.Key{From: asset(), To: w.device, Type: "Contains"}
		if _, err := w.relations.Save(t.Context(), w.tenant, relation.Relation{Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	q := w.request()
	q.Type, q.Propagate = "far and wide", true
	if result, err := few.CreateOrUpdate(t.Context(), q); err != nil || len(result.Now.Places) != 2 || result.Now.Places[0] != w.device {
		t.Errorf("it appears at %v, %v; want the originator and one more", result.Now.Places, err)
	}
	if _, err := few.List(t.Context(), alarm.Query{Scope: alarm.Scope{Tenant: w.tenant}, Size: 1}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("more than may be looked through: %v", err)
	}
}

func TestViewHasEveryField(t *testing.T) {
	w := start(t)
	a := w.raise(t, w.request()).Now
	var got map[string]any
	if err := json.Unmarshal([]byte(a.Text()), &got); err != nil {
		t.Fatal(err)
	}
	now := float64(w.clock.Now().UnixMilli())
	same(t, got, map[string]any{
		"id": map[string]any{"entityType": "ALARM", "id": a.ID.String()}, "createdTime": now,
		"tenantId":   map[string]any{"entityType": "TENANT", "id": w.tenant.String()},
		"customerId": map[string]any{"entityType": "CUSTOMER", "id": "13814000-1dd2-11b2-8080-808080808080"}, "type": "High Temperature", "originator": map[string]any{"entityType": "DEVICE", "id": w.device.ID.String()},
		"severity": "MAJOR", "acknowledged": false, "cleared": false, "assigneeId": nil, "startTs": now, "endTs": now,
		"ackTs": 0.0, "clearTs": 0.0, "assignTs": 0.0, "details": map[string]any{"t": 1.0}, "propagate": false,
		"propagateToOwner": false, "propagateToTenant": false, "propagateRelationTypes": []any{}, "name": "High Temperature", "status": "ACTIVE_UNACK",
	})
}
