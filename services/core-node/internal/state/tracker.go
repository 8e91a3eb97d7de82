// Package state keeps devices' connectivity: when each was last connected, heard and lost, and
// whether it is active. It is stored as server attributes, and its edges are events for the rule
// chains (rule-engine reference §8).
package state

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Config is the tracker's settings.
type Config struct {
	Timeout time.Duration // silence that makes a device inactive
	Check   time.Duration // how often the owner calls Check
	Devices int           // most devices kept in memory
	Polls   int           // most sessions of one device that wait for a single downlink
}

// keepActivityEvery is how stale the stored time of the last activity may be, ms.
const keepActivityEvery = 60_000

// Effects is what the tracker causes.
type Effects interface {
	// Keep stores changed as server attributes of d. Once they are durable the rule message event, if it is not
	// "", is to be raised with the body document.
	Keep(d *Device, changed []values.KeyValue, event, document string)
}

// Entities finds devices.
type Entities interface {
	Device(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (entity.Device, error)
}

// Tracker keeps the devices of one partition: those that are active, have sessions, or have yet to
// be found silent. The others are read again when they speak. It belongs to one goroutine.
type Tracker struct {
	config     Config
	entities   Entities
	attributes Attributes
	effects    Effects
	now        func() time.Time
	devices    map[ident.DeviceID]*Device
}

// NewTracker returns a Tracker that knows no device yet.
func NewTracker(c Config, entities Entities, attributes Attributes, effects Effects, now func() time.Time) *Tracker {
	return &Tracker{c, entities, attributes, effects, now, map[ident.DeviceID]*Device{}}
}

// Len is how many devices are in memory.
func (t *Tracker) Len() int { return len(t.devices) }

// Device returns what is known of a device. storage.ErrNotFound means that there is none.
func (t *Tracker) Device(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (*Device, error) {
	if d := t.devices[id]; d != nil && d.Tenant == tenant {
		return d, nil
	}
	e, err := t.entities.Device(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	d, err := Read(ctx, t.attributes, e)
	if err != nil {
		return nil, err
	}
	t.keep(d)
	return d, nil
}

// keep holds on to d while there is room. Without, d is as good for this one use, but nobody will notice
// when it falls silent.
func (t *Tracker) keep(d *Device) {
	if len(t.devices) < t.config.Devices {
		t.devices[d.ID] = d
	}
}

// Known returns a device that is in memory, else nil.
func (t *Tracker) Known(id ident.DeviceID) *Device { return t.devices[id] }

// Adopt takes devices on that were read from the store, unless they are known already, and looks
// whether they are silent.
func (t *Tracker) Adopt(devices []*Device) {
	for _, d := range devices {
		if t.devices[d.ID] == nil && !d.settled() {
			t.keep(d)
			t.check(d)
			t.expire(d, t.now().UnixMilli())
		}
	}
}

// Forget drops a deleted device.
func (t *Tracker) Forget(id ident.DeviceID) { delete(t.devices, id) }

// Renew takes over what people changed of a device that is in memory.
func (t *Tracker) Renew(e entity.Device) {
	if d := t.devices[e.ID]; d != nil {
		d.Customer, d.Profile, d.Name, d.Type, d.Label = e.Customer, e.Profile, e.Name, e.Type, e.Label
	}
}

// Created takes a new device on. When it is told again, after a crash, the device may have been heard since.
func (t *Tracker) Created(d *Device) {
	t.keep(d)
	if d.active {
		return
	}
	t.effects.Keep(d, []values.KeyValue{flag(attrActive, false)}, "", "")
}

// Active notes that d was heard at the time at.
func (t *Tracker) Active(d *Device, at int64) {
	if at <= d.activity {
		return
	}
	d.activity = at
	if d.active && at-d.keptActivity < keepActivityEvery {
		return
	}
	d.keptActivity = at
	changed := []values.KeyValue{moment(attrActivity, at)}
	event, document := "", ""
	if at <= d.alarm {
		d.alarm = 0
		changed = append(changed, moment(attrAlarm, 0))
	}
	if !d.active {
		d.active = true
		changed = append(changed, flag(attrActive, true))
		event, document = rule.ActivityEvent, d.document(true)
	}
	t.effects.Keep(d, changed, event, document)
}

// TimeoutChanged notes that d's own timeout is now ms (0: it has none), which can make it inactive,
// or active again.
func (t *Tracker) TimeoutChanged(d *Device, ms int64) {
	d.timeout = ms
	if !d.active && d.activity > 0 && t.now().UnixMilli() < d.activity+t.timeout(d) {
		d.active, d.alarm = true, 0
		t.effects.Keep(d, []values.KeyValue{moment(attrAlarm, 0), flag(attrActive, true)}, rule.ActivityEvent, d.document(true))
		return
	}
	t.check(d)
}

// Check finds the devices that have fallen silent and the sessions that are announced no more, and lets go of those that have nothing ahead.
func (t *Tracker) Check() {
	now := t.now().UnixMilli()
	for id, d := range t.devices {
		t.check(d)
		t.expire(d, now)
		if d.settled() {
			delete(t.devices, id)
		}
	}
}

func (t *Tracker) timeout(d *Device) int64 {
	if d.timeout > 0 {
		return d.timeout
	}
	return t.config.Timeout.Milliseconds()
}

func (t *Tracker) check(d *Device) {
	now, timeout := t.now().UnixMilli(), t.timeout(d)
	if now < d.activity+timeout || now < d.created+timeout || (d.alarm != 0 && d.alarm > d.activity) {
		return
	}
	d.alarm, d.active = now, false
	t.effects.Keep(d, []values.KeyValue{moment(attrAlarm, now), flag(attrActive, false)}, rule.InactivityEvent, d.document(true))
}
