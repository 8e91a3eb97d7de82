// Package telemetry holds the typed values devices send, and the codec of DeviceUplink used on
// the message path. The codec writes and reads exactly the wire format of device_uplink.proto;
// it exists because the generated code allocates once per value.
package telemetry

import (
	"math"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of value. None is the zero Value's: there is no value.
const (
	None Kind = iota
	Bool
	Long
	Double
	String
	JSON
)

// Value is one typed value. Compare with ==; the zero Value is no value.
type Value struct {
	Kind Kind
	bits uint64
	text string
}

// OfBool returns the boolean b.
func OfBool(b bool) Value {
	if b {
		return Value{Kind: Bool, bits: 1}
	}
	return Value{Kind: Bool}
}

// OfLong returns the integer n.
func OfLong(n int64) Value { return Value{Kind: Long, bits: uint64(n)} }

// OfDouble returns the floating-point number f.
func OfDouble(f float64) Value { return Value{Kind: Double, bits: math.Float64bits(f)} }

// OfString returns the text s.
func OfString(s string) Value { return Value{Kind: String, text: s} }

// OfJSON returns compact JSON text of an object or array.
func OfJSON(text string) Value { return Value{Kind: JSON, text: text} }

// Bool returns the value of Kind Bool.
func (v Value) Bool() bool { return v.bits != 0 }

// Long returns the value of Kind Long.
func (v Value) Long() int64 { return int64(v.bits) }

// Double returns the value of Kind Double.
func (v Value) Double() float64 { return math.Float64frombits(v.bits) }

// Text returns the value of Kind String or JSON.
func (v Value) Text() string { return v.text }

// KeyValue is one named value.
type KeyValue struct {
	Key string
	Value
}

// Record is the values of one time stamp.
type Record struct {
	Time    int64 // ms since the epoch
	OwnTime bool  // the device gave Time, not the transport
	Values  []KeyValue
}

// MessageID is an uplink's id; it stays the same over every redelivery.
type MessageID [16]byte

// Uplink is a decoded DeviceUplink.
type Uplink struct {
	Tenant     ident.TenantID
	Device     ident.DeviceID
	Customer   ident.CustomerID
	Profile    ident.ID
	DeviceName string
	DeviceType string
	ID         MessageID
	ReceivedAt int64 // µs since the epoch
	Transport  string
	Topic      string
	Telemetry  []Record
	Attributes []KeyValue // of the client scope
}
