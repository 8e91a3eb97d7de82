package ingest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/deviceprofile"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// ruled is a world whose chain is a device profile node that stores its state, with a device whose profile raises one alarm.
type ruled struct {
	*world
	alarms *alarm.Registry
	device entity.Device
}

func newRuled(t *testing.T, spec string) ruled {
	t.Helper()
	b := rulenodetest.New(t)
	b.Services.Now = time.Now
	entities := b.Platform()
	profile, err := entities.DeviceProfiles.Default(t.Context(), b.Services.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	profile.Body = json.RawMessage(`{"profileData":{"alarms":[{"id":"1","alarmType":"High","createRules":{"MAJOR":{"condition":{"condition":[
		{"key":{"type":"TIME_SERIES","key":"t"},"valueType":"NUMERIC","predicate":{"type":"NUMERIC","operation":"GREATER","value":{"defaultValue":50}}}],
		"spec":` + spec + `}}}}]}}`)
	if _, err := entities.DeviceProfiles.Update(t.Context(), profile); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.tenant, w.store, w.rows = b.Services.Tenant, &brittle{Telemetry: b.Store}, b.Store
	d := entity.Device{ID: b.Device, Tenant: w.tenant, Name: "Device", Type: "default", Profile: profile.ID, CreatedTime: time.Now().UnixMilli()}
	w.devices.known[d.ID] = d
	w.chained(map[string]rule.Node{"profile": b.Node(deviceprofile.Kind(), `{"persistAlarmRulesState":true}`)}, rule.ForStore, "profile")
	return ruled{w, b.Services.Alarms, d}
}

func (r ruled) reads(at time.Time, value int64) {
	r.send(r.uplink(r.device, reading(at.UnixMilli(), "t", telemetry.OfLong(value))))
}

func (r ruled) raised() bool {
	r.t.Helper()
	_, err := r.alarms.Active(r.t.Context(), r.tenant, r.device.ID.Entity(), "High")
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// handedOver has another owner go on with the first record: nothing was committed.
func (r ruled) handedOver() {
	r.halt()
	r.bus.mu.Lock()
	r.bus.commits = map[string]commit{}
	r.bus.mu.Unlock()
	r.start()
}

// TestCountsOfAlarmRulesOutliveTheirOwner, and what the next one is given again counts once.
func TestCountsOfAlarmRulesOutliveTheirOwner(t *testing.T) {
	r := newRuled(t, `{"type":"REPEATING","predicate":{"defaultValue":4}}`)
	began := time.Now()
	for n := range 3 {
		r.reads(began.Add(time.Duration(n)*time.Millisecond), 60)
	}
	r.start()
	r.done(3)
	r.handedOver()
	r.done(3)
	if r.raised() {
		t.Error("three readings that came twice are more than three")
	}
	r.reads(began.Add(time.Second), 60)
	r.eventually("an alarm", r.raised)
	r.halt()
	r.addsUp()
	if at := r.bus.committed(topics.RuleEngine, 0).offset; at > 4 {
		t.Errorf("committed %d", at)
	}
}

// TestTimeOfAlarmRulesIsOverUnderAnyOwner: the alarm is raised when the time is over, though nothing comes.
func TestTimeOfAlarmRulesIsOverUnderAnyOwner(t *testing.T) {
	for _, another := range []bool{false, true} {
		r := newRuled(t, `{"type":"DURATION","unit":"MILLISECONDS","predicate":{"defaultValue":400}}`)
		began := time.Now()
		r.reads(began, 60)
		r.start()
		r.done(1)
		if another {
			r.handedOver()
		}
		r.eventually("an alarm", r.raised)
		if took := time.Since(began); took <= 400*time.Millisecond {
			t.Errorf("another owner %v: it was raised after %v", another, took)
		}
		timers := newTimers(r.rows, 0, 10)
		r.eventually("its timer to go", func() bool {
			timers.queue, timers.places = nil, map[ident.ID]*queued{}
			if err := timers.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			return len(timers.queue) == 0
		})
		r.halt()
		r.addsUp()
	}
}

// TestTimeOfAlarmRulesThatEnded: a timer rings, and finds that the rule holds no longer.
func TestTimeOfAlarmRulesThatEnded(t *testing.T) {
	r := newRuled(t, `{"type":"DURATION","unit":"MILLISECONDS","predicate":{"defaultValue":300}}`)
	began := time.Now()
	r.reads(began, 60)
	r.reads(began.Add(time.Millisecond), 20)
	r.start()
	r.done(2)
	r.eventually("its timer to have rung", func() bool { return r.counted("core_node_messages_total", fateProcessed) == 3 })
	r.halt()
	r.addsUp()
	if r.raised() {
		t.Error("it was raised though the rule had ended")
	}
}
