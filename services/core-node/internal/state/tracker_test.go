package state

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// bench is a tracker over a clock, and a store that takes what the tracker keeps.
type bench struct {
	t       *testing.T
	tracker *Tracker
	now     time.Time
	device  entity.Device
	stored  map[string]values.Value
	events  []string
	writes  int
	reads   int
}

func newBench(t *testing.T) *bench {
	start := time.UnixMilli(1_700_000_000_000)
	b := &bench{t: t, now: start, stored: map[string]values.Value{}}
	b.device = entity.Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()}, Name: "A", CreatedTime: start.UnixMilli(),
	}
	b.restart()
	return b
}

// restart is another owner taking over.
func (b *bench) restart() {
	c := Config{Timeout: 600 * time.Second, Check: time.Minute, Devices: 10, Polls: 2}
	b.tracker = NewTracker(c, b, b, b, func() time.Time { return b.now })
}

func (b *bench) Device(_ context.Context, _ ident.TenantID, id ident.DeviceID) (entity.Device, error) {
	if id != b.device.ID {
		return entity.Device{}, storage.ErrNotFound
	}
	b.reads++
	return b.device, nil
}

func (b *bench) Attributes(context.Context, ident.EntityID, storage.Scope, []string) ([]storage.Entry, error) {
	var entries []storage.Entry
	for key, value := range b.stored {
		entries = append(entries, storage.Entry{KeyValue: values.KeyValue{Key: key, Value: value}})
	}
	return entries, nil
}

func (b *bench) Keep(_ *Device, changed []values.KeyValue, event, document string) {
	b.writes++
	for _, kv := range changed {
		b.stored[kv.Key] = kv.Value
	}
	if event != "" {
		b.events = append(b.events, event)
		if !strings.HasPrefix(document, "{") || strings.Contains(document, `"active"`) == (event == "CONNECT_EVENT") {
			b.t.Errorf("%s carries %s", event, document)
		}
	}
}

func (b *bench) state() *Device {
	b.t.Helper()
	d, err := b.tracker.Device(b.t.Context(), b.device.Tenant, b.device.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// open tells of a session that is new, or not.
func (b *bench) open(d *Device, s Session, at int64) *Session {
	s.OpenedAt = at
	return b.tracker.Opened(d, s, false)
}

func (b *bench) heard() { b.tracker.Active(b.state(), b.now.UnixMilli()) }

func (b *bench) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.tracker.Check()
}

func (b *bench) want(events ...string) {
	b.t.Helper()
	if diff := cmp.Diff(events, b.events); diff != "" {
		b.t.Error(diff)
	}
}

func TestCaseS1ActivityIsTheEdge(t *testing.T) {
	b := newBench(t)
	for range 101 {
		b.now = b.now.Add(time.Millisecond)
		b.heard()
	}
	b.want("ACTIVITY_EVENT")
	if !b.stored[attrActive].Bool() || b.writes != 1 {
		t.Errorf("stored %v in %d writes", b.stored, b.writes)
	}
	b.now = b.now.Add(61 * time.Second)
	b.heard()
	if b.writes != 2 || b.stored[attrActivity].Long() != b.now.UnixMilli() {
		t.Errorf("a minute later the store has %v after %d writes", b.stored, b.writes)
	}
}

func TestCaseS2SilenceIsTheOtherEdge(t *testing.T) {
	b := newBench(t)
	b.heard()
	b.pass(599 * time.Second)
	b.want("ACTIVITY_EVENT")
	b.pass(time.Second)
	b.pass(time.Hour)
	b.want("ACTIVITY_EVENT", "INACTIVITY_EVENT")
	if b.stored[attrActive].Bool() || b.tracker.Len() != 0 {
		t.Errorf("stored %v, %d devices in memory", b.stored, b.tracker.Len())
	}
	b.heard()
	b.want("ACTIVITY_EVENT", "INACTIVITY_EVENT", "ACTIVITY_EVENT")
}

func TestCaseS3TimeoutOfItsOwn(t *testing.T) {
	b := newBench(t)
	b.heard()
	b.stored[TimeoutAttribute] = values.OfLong(10_000)
	b.tracker.TimeoutChanged(b.state(), 10_000)
	b.pass(10 * time.Second)
	b.want("ACTIVITY_EVENT", "INACTIVITY_EVENT")
	delete(b.stored, TimeoutAttribute)
	b.tracker.TimeoutChanged(b.state(), 0)
	b.want("ACTIVITY_EVENT", "INACTIVITY_EVENT", "ACTIVITY_EVENT")
	b.pass(100 * time.Second)
	b.tracker.TimeoutChanged(b.state(), 5_000) // shorter than the silence there is: at once
	b.want("ACTIVITY_EVENT", "INACTIVITY_EVENT", "ACTIVITY_EVENT", "INACTIVITY_EVENT")
}

func TestCaseS4DisconnectLeavesActive(t *testing.T) {
	b := newBench(t)
	s := Session{ID: ident.New(), Node: "mqtt-1", Transport: "MQTT"}
	b.open(b.state(), s, b.now.UnixMilli())
	b.now = b.now.Add(time.Second)
	b.tracker.Closed(b.state(), s.ID, b.now.UnixMilli())
	b.tracker.Closed(b.state(), s.ID, b.now.UnixMilli()) // told twice
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT")
	if !b.stored[attrActive].Bool() || b.stored[attrConnect].Long() == 0 || b.stored[attrDisconnect].Long() != b.now.UnixMilli() {
		t.Errorf("stored %v", b.stored)
	}
}

func TestCaseS5NeverHeard(t *testing.T) {
	b := newBench(t)
	b.tracker.Created(b.state())
	b.pass(599 * time.Second)
	b.want()
	b.pass(time.Second)
	b.pass(time.Hour)
	b.want("INACTIVITY_EVENT")
}

func TestCaseS6ANewOwnerRaisesNothingAgain(t *testing.T) {
	b := newBench(t)
	b.heard()
	for range 3 {
		b.restart()
		b.tracker.Adopt([]*Device{b.state()})
		b.now = b.now.Add(time.Second)
		b.heard()
		b.tracker.Check()
	}
	b.want("ACTIVITY_EVENT")
	b.pass(time.Hour)
	b.restart()
	d, err := Read(t.Context(), b, b.device)
	if err != nil {
		t.Fatal(err)
	}
	b.tracker.Adopt([]*Device{d})
	b.pass(time.Hour)
	b.want("ACTIVITY_EVENT", "INACTIVITY_EVENT")
}

func TestCaseS7LateActivityIsIgnored(t *testing.T) {
	b := newBench(t)
	b.heard()
	writes := b.writes
	b.tracker.Active(b.state(), b.now.UnixMilli()-1)
	b.tracker.Active(b.state(), 0)
	if b.writes != writes {
		t.Error("late activity was stored")
	}
}

func TestTheNewestSessionReplacesTheOther(t *testing.T) {
	b := newBench(t)
	first, second, coap := session("mqtt-1", "MQTT"), session("mqtt-2", "MQTT"), session("coap-1", "COAP")
	d := b.state()
	if over := b.open(d, first, 1); over != nil {
		t.Errorf("the first replaced %v", over)
	}
	if over := b.open(d, second, 2); over == nil || over.ID != first.ID {
		t.Errorf("the second replaced %v", over)
	}
	if over := b.open(d, second, 2); over != nil || d.Session.ID != second.ID { // told twice
		t.Errorf("told twice it replaced %v, leaving %v", over, d.Session)
	}
	if over := b.open(d, coap, 3); over == nil || over.ID != second.ID || d.Session.ID != coap.ID {
		t.Errorf("another transport's replaced %v, leaving %v", over, d.Session)
	}
}

func TestCreationToldAgain(t *testing.T) {
	b := newBench(t)
	b.tracker.Created(b.state())
	b.heard()
	b.restart()
	b.tracker.Created(b.state())
	if !b.stored[attrActive].Bool() {
		t.Error("a device that was heard is stored as inactive")
	}
}

// TestConnectingAgain: a transport that was killed told nobody of the end of its sessions.
func TestConnectingAgain(t *testing.T) {
	b := newBench(t)
	d := b.state()
	lost := Session{ID: ident.New(), Node: "mqtt-1", Transport: "MQTT"}
	again := Session{ID: ident.New(), Node: "mqtt-2", Transport: "MQTT"}
	at := b.now.UnixMilli()
	b.open(d, lost, at)
	b.open(d, again, at+1)
	b.open(d, again, at+2) // told again
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "CONNECT_EVENT")
	if got := b.stored[attrConnect].Long(); got != at+1 {
		t.Errorf("last connected at %d, want %d", got, at+1)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := newBench(t)
	for range 100 {
		b.device.ID = ident.DeviceID{ID: ident.New()}
		b.heard()
	}
	if b.tracker.Len() != 10 {
		t.Errorf("%d devices in memory within a bound of 10", b.tracker.Len())
	}
	if _, err := b.tracker.Device(t.Context(), b.device.Tenant, ident.DeviceID{ID: ident.New()}); err == nil {
		t.Error("a device there is not was found")
	}
}

func TestTimeouts(t *testing.T) {
	for v, want := range map[values.Value]int64{
		values.OfLong(5): 5, values.OfLong(-5): 0, values.OfDouble(2.5): 2, values.OfDouble(1e300): 0, values.OfString("7"): 0, {}: 0,
	} {
		if got := Timeout(v); got != want {
			t.Errorf("%v sets %d, want %d", v, got, want)
		}
	}
}
