// Package rule is the rule engine: messages, the contract of nodes, chains compiled from their
// exported JSON, and the engine that runs one partition's messages through them. See DESIGN.md.
package rule

import (
	"maps"
	"strconv"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Types of message the platform makes. Any other text is a tenant's own type.
const (
	PostTelemetry     = "POST_TELEMETRY_REQUEST"
	PostAttributes    = "POST_ATTRIBUTES_REQUEST"
	ConnectEvent      = "CONNECT_EVENT"
	DisconnectEvent   = "DISCONNECT_EVENT"
	ActivityEvent     = "ACTIVITY_EVENT"
	InactivityEvent   = "INACTIVITY_EVENT"
	EntityCreated     = "ENTITY_CREATED"
	EntityDeleted     = "ENTITY_DELETED"
	AttributesUpdated = "ATTRIBUTES_UPDATED"
	AttributesDeleted = "ATTRIBUTES_DELETED"
	TimeseriesUpdated = "TIMESERIES_UPDATED"
	TimeseriesDeleted = "TIMESERIES_DELETED"
	EntityUpdated     = "ENTITY_UPDATED"
	Alarm             = "ALARM"
	AlarmClear        = "ALARM_CLEAR"
	SendEmail         = "SEND_EMAIL"
	RPCToDevice       = "RPC_CALL_FROM_SERVER_TO_DEVICE"
	RPCFromDevice     = "TO_SERVER_RPC_REQUEST"
)

// Message is what travels through a rule chain. Several nodes may hold the same Message: whoever
// wants it different emits a copy.
type Message struct {
	// ID and Index together name the message: ID is the bus record's, Index the place within it.
	// They stay the same over every redelivery, and on copies.
	ID         values.MessageID
	Index      int
	Tenant     ident.TenantID
	Originator ident.EntityID
	Customer   ident.CustomerID
	Profile    ident.ID // the originator's, if it is a device
	Type       string
	Time       int64  // ms
	ReceivedAt int64  // when the platform first had it, µs
	Queue      string // it came from; "" is the main one
	// Record is the place of the record it came with in its partition of Queue, from 1; 0 if it came with none. A message that comes
	// again has the same, and one that was there before it a smaller one.
	Record   int64
	Metadata Metadata
	Body     Body
}

// Timestamp is the time nodes go by: the metadata's ts, else the message's own.
func (m *Message) Timestamp() int64 {
	if m.Metadata.HasTs {
		return m.Metadata.Ts
	}
	if text, ok := m.Metadata.more["ts"]; ok {
		if ts, err := strconv.ParseInt(text, 10, 64); err == nil {
			return ts
		}
	}
	return m.Time
}

// Metadata is a message's named texts. Those every uplink has are fields, so that making a
// message formats and allocates nothing; an empty field is an absent key. A value: copies are independent.
type Metadata struct {
	DeviceName string // "deviceName"
	DeviceType string // "deviceType"
	NotifyOff  bool   // "notifyDevice" is "false"
	HasTs      bool   // "ts" is Ts
	Ts         int64
	more       map[string]string // never changed once shared, but replaced
}

// Get returns the text named key.
func (m Metadata) Get(key string) (string, bool) {
	if text, ok := m.more[key]; ok {
		return text, true
	}
	switch key {
	case "deviceName":
		return m.DeviceName, m.DeviceName != ""
	case "deviceType":
		return m.DeviceType, m.DeviceType != ""
	case "notifyDevice":
		if m.NotifyOff {
			return "false", true
		}
	case "ts":
		if m.HasTs {
			return strconv.FormatInt(m.Ts, 10), true
		}
	}
	return "", false
}

// With returns m with key set to text.
func (m Metadata) With(key, text string) Metadata {
	return m.WithAll(map[string]string{key: text})
}

// shadow empties the field of key, which m.more has now.
func (m *Metadata) shadow(key string) {
	switch key {
	case "deviceName":
		m.DeviceName = ""
	case "deviceType":
		m.DeviceType = ""
	case "notifyDevice":
		m.NotifyOff = false
	case "ts":
		m.HasTs = false
	}
}

// WithAll returns m with every text of more set.
func (m Metadata) WithAll(more map[string]string) Metadata {
	if len(more) == 0 {
		return m
	}
	all := make(map[string]string, len(m.more)+len(more))
	maps.Copy(all, m.more)
	maps.Copy(all, more)
	m.more = all
	for key := range more {
		m.shadow(key)
	}
	return m
}

// All returns every text by its name, in a map of the caller's own.
func (m Metadata) All() map[string]string {
	all := make(map[string]string, len(m.more)+4)
	for _, key := range [...]string{"deviceName", "deviceType", "notifyDevice", "ts"} {
		if text, ok := m.Get(key); ok {
			all[key] = text
		}
	}
	maps.Copy(all, m.more)
	return all
}

// Body is a message's content: typed values as a device sent them, or text. It is converted when
// a node asks, and no sooner. A value; what it refers to is never changed.
type Body struct {
	typed  bool
	values []values.KeyValue
	text   string
}

// BodyOf returns a body of typed values, which stay the caller's not to change.
func BodyOf(kvs []values.KeyValue) Body { return Body{typed: true, values: kvs} }

// TextBody returns a body of text, usually JSON.
func TextBody(text string) Body { return Body{text: text} }

// Typed returns the values of a body made by BodyOf.
func (b Body) Typed() (kvs []values.KeyValue, ok bool) { return b.values, b.typed }

// Text returns the body as text; typed values become a JSON object, anew at every call.
func (b Body) Text() string {
	if b.typed {
		return string(telemetry.AppendObject(nil, b.values))
	}
	return b.text
}
