package state

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Names of the server attributes that hold a device's connectivity.
const (
	attrActive     = "active"
	attrConnect    = "lastConnectTime"
	attrActivity   = "lastActivityTime"
	attrDisconnect = "lastDisconnectTime"
	attrAlarm      = "inactivityAlarmTime"
	// TimeoutAttribute is a device's own inactivity timeout, ms; people and rule chains set it.
	TimeoutAttribute = "inactivityTimeout"
)

// Device is what is known of a device's connectivity. Times are ms since the epoch; 0 is never.
type Device struct {
	Tenant   ident.TenantID
	ID       ident.DeviceID
	Customer ident.CustomerID
	Profile  ident.ID
	Name     string
	Type     string
	Label    string
	// Session is its connection, nil while there is none; Polls are what waits for a single downlink, oldest first.
	Session *Session
	Polls   []Session

	created      int64
	active       bool
	connect      int64
	activity     int64
	disconnect   int64
	alarm        int64
	timeout      int64 // of its own; 0: the setting's
	keptActivity int64 // what the store has
	lost         int64 // since when it has no session, though it is connected; 0: it has, or is not
	closed       int64 // when its session ended, if that made it lost; else 0
}

// Session is one connection of a device.
type Session struct {
	ID        ident.ID
	Node      string // of the transport: its response topic reaches the session
	Transport string
	OpenedAt  int64 // ms since the epoch, by the transport's clock
	// Once: it waits for a single downlink, and is no connection of the device.
	Once bool
	// RPC and Attributes: it is told of requests to the device, and of attribute updates. A connection is always told of the latter.
	RPC, Attributes bool

	seen int64 // when it was last announced, ms
}

// later reports whether s was opened after o.
func (s *Session) later(o *Session) bool {
	return s.OpenedAt > o.OpenedAt || s.OpenedAt == o.OpenedAt && bytes.Compare(s.ID[:], o.ID[:]) > 0
}

// settled reports whether nothing will happen to d by itself: it is known to be silent, and nobody
// needs its sessions.
func (d *Device) settled() bool {
	return !d.active && d.alarm > d.activity && d.Session == nil && len(d.Polls) == 0 && !d.connected()
}

// connected reports whether d is known to be connected, as the store has it.
func (d *Device) connected() bool { return d.connect > d.disconnect }

// document is d's connectivity as rule messages carry it. A connection event does not speak of active.
func (d *Device) document(withActive bool) string {
	doc := make([]byte, 0, 160)
	doc = append(doc, '{')
	if withActive {
		doc = strconv.AppendBool(append(doc, `"active":`...), d.active)
		doc = append(doc, ',')
	}
	doc = strconv.AppendInt(append(doc, `"lastConnectTime":`...), d.connect, 10)
	doc = strconv.AppendInt(append(doc, `,"lastActivityTime":`...), d.activity, 10)
	doc = strconv.AppendInt(append(doc, `,"lastDisconnectTime":`...), d.disconnect, 10)
	doc = strconv.AppendInt(append(doc, `,"lastInactivityAlarmTime":`...), d.alarm, 10)
	doc = strconv.AppendInt(append(doc, `,"inactivityTimeout":`...), d.timeout, 10)
	return string(append(doc, '}'))
}

// Attributes reads attributes.
type Attributes interface {
	Attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) ([]storage.Entry, error)
}

// Read returns a device's connectivity as the store has it.
func Read(ctx context.Context, from Attributes, e entity.Device) (*Device, error) {
	d := &Device{
		Tenant: e.Tenant, ID: e.ID, Customer: e.Customer, Profile: e.Profile,
		Name: e.Name, Type: e.Type, Label: e.Label, created: e.CreatedTime,
	}
	entries, err := from.Attributes(ctx, e.ID.Entity(), storage.Server,
		[]string{attrActive, attrConnect, attrActivity, attrDisconnect, attrAlarm, TimeoutAttribute})
	if err != nil {
		return nil, fmt.Errorf("read connectivity: %w", err)
	}
	for _, entry := range entries {
		switch entry.Key {
		case attrActive:
			d.active = entry.Bool()
		case attrConnect:
			d.connect = entry.Long()
		case attrActivity:
			d.activity = entry.Long()
		case attrDisconnect:
			d.disconnect = entry.Long()
		case attrAlarm:
			d.alarm = entry.Long()
		case TimeoutAttribute:
			d.timeout = Timeout(entry.Value)
		}
	}
	d.keptActivity = d.activity
	return d, nil
}

// Timeout is the inactivity timeout that v sets, ms; 0 when it sets none.
func Timeout(v values.Value) int64 {
	switch v.Kind {
	case values.Long:
		return max(v.Long(), 0)
	case values.Double:
		if f := v.Double(); f > 0 && f < 1<<62 {
			return int64(f)
		}
	}
	return 0
}

func flag(key string, b bool) values.KeyValue {
	return values.KeyValue{Key: key, Value: values.OfBool(b)}
}

func moment(key string, ms int64) values.KeyValue {
	return values.KeyValue{Key: key, Value: values.OfLong(ms)}
}
