package telemetry

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-iot/sluice/proto/ident"
)

var (
	errNotUTF8     = errors.New("text is not UTF-8")
	errFieldNumber = errors.New("no such field number")
)

// ParseUplink reads a DeviceUplink into u, reusing u's slices. What u held before is gone.
//
// Every string of u points into data, so nothing is copied: data must not change while u (or
// any string taken from it) is in use, and a string that is to outlive data's other contents
// should be cloned. Fields this version does not know are skipped. An error means that data
// is no DeviceUplink; u then holds nothing of use.
func ParseUplink(data []byte, u *Uplink) error {
	*u = Uplink{Telemetry: u.Telemetry[:0], Attributes: u.Attributes[:0]}
	for len(data) > 0 {
		f, rest, err := nextField(data)
		if err != nil {
			return fmt.Errorf("parse uplink: %w", err)
		}
		data = rest
		if err := u.setField(f); err != nil {
			return fmt.Errorf("parse uplink: field %d: %w", f.number, err)
		}
	}
	return nil
}

func (u *Uplink) setField(f field) error {
	if f.number == fieldReceivedAt && f.kind == protowire.VarintType {
		u.ReceivedAt = int64(f.bits)
		return nil
	}
	if f.kind != protowire.BytesType {
		return nil
	}
	switch f.number {
	case fieldTenant:
		return setID(&u.Tenant.ID, f.bytes)
	case fieldDevice:
		return setID(&u.Device.ID, f.bytes)
	case fieldCustomer:
		return setID(&u.Customer.ID, f.bytes)
	case fieldProfile:
		return setID(&u.Profile, f.bytes)
	case fieldMessageID:
		return setID((*ident.ID)(&u.ID), f.bytes)
	case fieldDeviceName:
		return setText(&u.DeviceName, f.bytes)
	case fieldDeviceType:
		return setText(&u.DeviceType, f.bytes)
	case fieldTransport:
		return setText(&u.Transport, f.bytes)
	case fieldTopic:
		return setText(&u.Topic, f.bytes)
	case fieldTelemetry:
		return parseRecord(f.bytes, u.nextRecord())
	case fieldAttributes:
		var err error
		u.Attributes, err = parseAttributes(f.bytes, u.Attributes)
		return err
	}
	return nil
}

// nextRecord appends a record that keeps the values' slice of the one that was there before.
func (u *Uplink) nextRecord() *Record {
	n := len(u.Telemetry)
	if n == cap(u.Telemetry) {
		u.Telemetry = append(u.Telemetry, Record{})
		return &u.Telemetry[n]
	}
	u.Telemetry = u.Telemetry[:n+1]
	r := &u.Telemetry[n]
	*r = Record{Values: r.Values[:0]}
	return r
}

func parseRecord(data []byte, r *Record) error {
	for len(data) > 0 {
		f, rest, err := nextField(data)
		if err != nil {
			return err
		}
		data = rest
		switch {
		case f.number == fieldTime && f.kind == protowire.VarintType:
			r.Time = int64(f.bits)
		case f.number == fieldOwnTime && f.kind == protowire.VarintType:
			r.OwnTime = f.bits != 0
		case f.number == fieldValues && f.kind == protowire.BytesType:
			if r.Values, err = appendParsed(r.Values, f.bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseAttributes adds to what is there already: a message field that occurs twice is merged.
func parseAttributes(data []byte, values []KeyValue) ([]KeyValue, error) {
	for len(data) > 0 {
		f, rest, err := nextField(data)
		if err != nil {
			return values, err
		}
		data = rest
		if f.number == fieldAttributesValues && f.kind == protowire.BytesType {
			if values, err = appendParsed(values, f.bytes); err != nil {
				return values, err
			}
		}
	}
	return values, nil
}

func appendParsed(values []KeyValue, data []byte) ([]KeyValue, error) {
	values = append(values, KeyValue{})
	kv := &values[len(values)-1]
	for len(data) > 0 {
		f, rest, err := nextField(data)
		if err != nil {
			return values, err
		}
		data = rest
		if err := kv.setField(f); err != nil {
			return values, err
		}
	}
	return values, nil
}

func (kv *KeyValue) setField(f field) error {
	switch {
	case f.number == fieldKey && f.kind == protowire.BytesType:
		return setText(&kv.Key, f.bytes)
	case f.number == fieldBool && f.kind == protowire.VarintType:
		kv.Value = OfBool(f.bits != 0)
	case f.number == fieldLong && f.kind == protowire.VarintType:
		kv.Value = OfLong(int64(f.bits))
	case f.number == fieldDouble && f.kind == protowire.Fixed64Type:
		kv.Value = Value{Kind: Double, bits: f.bits}
	case f.number == fieldString && f.kind == protowire.BytesType:
		kv.Value = Value{Kind: String}
		return setText(&kv.text, f.bytes)
	case f.number == fieldJSON && f.kind == protowire.BytesType:
		kv.Value = Value{Kind: JSON}
		return setText(&kv.text, f.bytes)
	}
	return nil
}

// field is one field of a message: bits of a number, or bytes.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bits   uint64
	bytes  []byte
}

// nextField cuts the first field off data. One of a kind no message of ours has (fixed32, group)
// comes without its value. Tags and lengths of one byte, nearly all there are, take the short way.
func nextField(data []byte) (f field, rest []byte, err error) {
	n := 1
	if tag := data[0]; tag < 0x80 && tag>>3 > 0 {
		f.number, f.kind = protowire.Number(tag>>3), protowire.Type(tag&7)
	} else if f.number, f.kind, n = protowire.ConsumeTag(data); n < 0 {
		return f, nil, protowire.ParseError(n)
	} else if f.number > protowire.MaxValidNumber {
		return f, nil, errFieldNumber
	}
	data = data[n:]
	switch f.kind {
	case protowire.BytesType:
		if len(data) > 0 && data[0] < 0x80 && int(data[0]) < len(data) {
			n = 1 + int(data[0])
			f.bytes = data[1:n:n]
		} else {
			f.bytes, n = protowire.ConsumeBytes(data)
		}
	case protowire.VarintType:
		f.bits, n = protowire.ConsumeVarint(data)
	case protowire.Fixed64Type:
		f.bits, n = protowire.ConsumeFixed64(data)
	default:
		n = protowire.ConsumeFieldValue(f.number, f.kind, data)
	}
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	return f, data[n:], nil
}

func setID(id *ident.ID, b []byte) (err error) {
	*id, err = ident.FromBytes(b)
	return err
}

func setText(text *string, b []byte) error {
	if !utf8.Valid(b) {
		return errNotUTF8
	}
	*text = unsafe.String(unsafe.SliceData(b), len(b))
	return nil
}
