package telemetry

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Field numbers of DeviceUplink (device_uplink.proto).
const (
	fieldTenant     = 1
	fieldDevice     = 2
	fieldCustomer   = 3
	fieldProfile    = 4
	fieldDeviceName = 5
	fieldDeviceType = 6
	fieldMessageID  = 7
	fieldReceivedAt = 8
	fieldTransport  = 9
	fieldTopic      = 10
	fieldTelemetry  = 11
	fieldAttributes = 12
)

// Field numbers of TelemetryRecord and AttributesUpload (device_uplink.proto).
const (
	fieldTime             = 1
	fieldOwnTime          = 2
	fieldValues           = 3
	fieldAttributesValues = 1
)

// Field numbers of KeyValue (value.proto).
const (
	fieldKey    = 1
	fieldBool   = 2
	fieldLong   = 3
	fieldDouble = 4
	fieldString = 5
	fieldJSON   = 6
)

// Every field number is below 16, so every tag is one byte.
const tagSize = 1

// AppendUplink appends u as a DeviceUplink to dst and returns the result, byte for byte what
// the generated code writes. It allocates only when dst has no room; SizeUplink says how much
// is needed. Text must be valid UTF-8. No attributes at all leave that field out.
func AppendUplink(dst []byte, u *Uplink) []byte {
	dst = appendID(dst, fieldTenant, u.Tenant.ID)
	dst = appendID(dst, fieldDevice, u.Device.ID)
	dst = appendID(dst, fieldCustomer, u.Customer.ID)
	dst = appendID(dst, fieldProfile, u.Profile)
	dst = appendText(dst, fieldDeviceName, u.DeviceName)
	dst = appendText(dst, fieldDeviceType, u.DeviceType)
	dst = appendID(dst, fieldMessageID, ident.ID(u.ID))
	dst = appendInt(dst, fieldReceivedAt, u.ReceivedAt)
	dst = appendText(dst, fieldTransport, u.Transport)
	dst = appendText(dst, fieldTopic, u.Topic)
	for i := range u.Telemetry {
		r := &u.Telemetry[i]
		dst = protowire.AppendTag(dst, fieldTelemetry, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(sizeRecord(r)))
		dst = appendRecord(dst, r)
	}
	if len(u.Attributes) > 0 {
		dst = protowire.AppendTag(dst, fieldAttributes, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(sizeKeyValues(u.Attributes)))
		dst = appendKeyValues(dst, fieldAttributesValues, u.Attributes)
	}
	return dst
}

// SizeUplink returns how many bytes AppendUplink adds.
func SizeUplink(u *Uplink) int {
	size := sizeID(u.Tenant.ID) + sizeID(u.Device.ID) + sizeID(u.Customer.ID) + sizeID(u.Profile) +
		sizeText(u.DeviceName) + sizeText(u.DeviceType) + sizeID(ident.ID(u.ID)) +
		sizeInt(u.ReceivedAt) + sizeText(u.Transport) + sizeText(u.Topic)
	for i := range u.Telemetry {
		size += tagSize + protowire.SizeBytes(sizeRecord(&u.Telemetry[i]))
	}
	if len(u.Attributes) > 0 {
		size += tagSize + protowire.SizeBytes(sizeKeyValues(u.Attributes))
	}
	return size
}

func appendRecord(dst []byte, r *Record) []byte {
	dst = appendInt(dst, fieldTime, r.Time)
	if r.OwnTime {
		dst = protowire.AppendTag(dst, fieldOwnTime, protowire.VarintType)
		dst = append(dst, 1)
	}
	return appendKeyValues(dst, fieldValues, r.Values)
}

func sizeRecord(r *Record) int {
	size := sizeInt(r.Time) + sizeKeyValues(r.Values)
	if r.OwnTime {
		size += tagSize + 1
	}
	return size
}

func appendKeyValues(dst []byte, field protowire.Number, values []KeyValue) []byte {
	for i := range values {
		kv := &values[i]
		dst = protowire.AppendTag(dst, field, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(sizeKeyValue(kv)))
		dst = appendText(dst, fieldKey, kv.Key)
		dst = appendValue(dst, &kv.Value)
	}
	return dst
}

func sizeKeyValues(values []KeyValue) int {
	size := 0
	for i := range values {
		size += tagSize + protowire.SizeBytes(sizeKeyValue(&values[i]))
	}
	return size
}

// appendValue writes the set member of KeyValue's oneof, zero values included: there, unlike
// in plain fields, absence means "no value".
func appendValue(dst []byte, v *Value) []byte {
	switch v.Kind {
	case Bool:
		dst = protowire.AppendTag(dst, fieldBool, protowire.VarintType)
		return append(dst, byte(v.bits))
	case Long:
		dst = protowire.AppendTag(dst, fieldLong, protowire.VarintType)
		return protowire.AppendVarint(dst, v.bits)
	case Double:
		dst = protowire.AppendTag(dst, fieldDouble, protowire.Fixed64Type)
		return protowire.AppendFixed64(dst, v.bits)
	case String:
		dst = protowire.AppendTag(dst, fieldString, protowire.BytesType)
		return protowire.AppendString(dst, v.text)
	case JSON:
		dst = protowire.AppendTag(dst, fieldJSON, protowire.BytesType)
		return protowire.AppendString(dst, v.text)
	default:
		return dst
	}
}

func sizeKeyValue(kv *KeyValue) int {
	size := sizeText(kv.Key)
	switch kv.Kind {
	case Bool:
		return size + tagSize + 1
	case Long:
		return size + tagSize + protowire.SizeVarint(kv.bits)
	case Double:
		return size + tagSize + protowire.SizeFixed64()
	case String, JSON:
		return size + tagSize + protowire.SizeBytes(len(kv.text))
	default:
		return size
	}
}

func appendID(dst []byte, field protowire.Number, id ident.ID) []byte {
	if id.IsZero() {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, id[:])
}

func sizeID(id ident.ID) int {
	if id.IsZero() {
		return 0
	}
	return tagSize + protowire.SizeBytes(len(id))
}

func appendText(dst []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendString(dst, text)
}

func sizeText(text string) int {
	if text == "" {
		return 0
	}
	return tagSize + protowire.SizeBytes(len(text))
}

func appendInt(dst []byte, field protowire.Number, n int64) []byte {
	if n == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(n))
}

func sizeInt(n int64) int {
	if n == 0 {
		return 0
	}
	return tagSize + protowire.SizeVarint(uint64(n))
}
