package packet

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Filters are the topic filters of a SUBSCRIBE (§3.8) or UNSUBSCRIBE (§3.10), checked.
type Filters struct {
	ID uint16

	list    []byte
	options bool // one byte of options follows each filter
}

// All yields each filter and the QoS asked for it (0 in UNSUBSCRIBE).
func (s Filters) All() iter.Seq2[[]byte, byte] {
	return func(yield func([]byte, byte) bool) {
		for b := s.list; len(b) > 0; {
			end := 2 + int(binary.BigEndian.Uint16(b))
			filter, qos := b[2:end], byte(0)
			if s.options {
				qos = b[end] & 3
				end++
			}
			b = b[end:]
			if !yield(filter, qos) {
				return
			}
		}
	}
}

// ParseSubscribe reads the body of a SUBSCRIBE.
func ParseSubscribe(v Version, body []byte) (Filters, *Error) {
	return parseFilters(v, body, inSubscribe, true)
}

// ParseUnsubscribe reads the body of an UNSUBSCRIBE.
func ParseUnsubscribe(v Version, body []byte) (Filters, *Error) {
	return parseFilters(v, body, inUnsubscribe, false)
}

func parseFilters(v Version, body []byte, allowed set, options bool) (Filters, *Error) {
	f := fields{b: body}
	s := Filters{ID: f.packetID(), options: options}
	if v == V5 {
		f.properties(allowed)
	}
	s.list = f.b
	if f.err == nil && len(s.list) == 0 {
		return s, ErrNoFilter
	}
	for f.err == nil && len(f.b) > 0 {
		filter := f.text()
		if f.err == nil && len(filter) == 0 {
			f.fail(ErrTopic)
		}
		if options {
			f.subscriptionOptions(v, filter)
		}
	}
	return s, f.err
}

// subscriptionOptions checks the byte after a filter (§3.8.3.1): before MQTT 5 it is a QoS.
func (f *fields) subscriptionOptions(v Version, filter []byte) {
	options := f.byte()
	const (
		qos      = 0x03
		noLocal  = 0x04
		handling = 0x30
		reserved = 0xc0
	)
	switch {
	case f.err != nil:
	case options&qos == qos:
		f.fail(ErrQoS)
	case v != V5 && options > qos, options&reserved != 0:
		f.fail(ErrFlags)
	case options&handling == handling, options&noLocal != 0 && bytes.HasPrefix(filter, []byte("$share/")):
		f.fail(ErrFilter)
	}
}
