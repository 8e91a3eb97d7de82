package schema

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends a message as JSON. Errors are of fault.Invalid.
func (s *Schema) AppendJSON(dst, data []byte, b Bounds) ([]byte, error) {
	n, r := newNode(s.root), reader{left: b.Values}
	if err := r.read(n, data, 1); err != nil {
		return dst, err
	}
	w := writer{dst: dst, most: len(dst) + b.Bytes}
	w.node(n)
	if w.full() {
		return dst, errBytes
	}
	return w.dst, nil
}

// writer writes JSON, and stops once there is too much of it.
type writer struct {
	dst  []byte
	most int
}

func (w *writer) full() bool { return len(w.dst) > w.most }

func (w *writer) node(n *node) {
	w.dst = append(w.dst, '{')
	first := true
	for i, f := range n.of.fields {
		at := &n.values[i]
		if w.full() || !at.set && !f.repeated && (f.optional || f.oneof > 0 || f.kind == kindMessage) {
			continue
		}
		if !first {
			w.dst = append(w.dst, ',')
		}
		first = false
		w.text(f.json)
		w.dst = append(w.dst, ':')
		switch {
		case f.isMap:
			w.entries(f, at.many)
		case f.repeated:
			w.list(f, at.many)
		default:
			w.value(f, &at.one)
		}
	}
	w.dst = append(w.dst, '}')
}

func (w *writer) list(f *field, many []value) {
	w.dst = append(w.dst, '[')
	for i := range many {
		if w.full() {
			break
		}
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		w.value(f, &many[i])
	}
	w.dst = append(w.dst, ']')
}

// entries writes a map. A key that comes again is written again: whoever reads takes the last.
func (w *writer) entries(f *field, many []value) {
	w.dst = append(w.dst, '{')
	key, of := f.message.fields[0], f.message.fields[1]
	for i := range many {
		if w.full() {
			break
		}
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		entry := many[i].child
		if key.kind.quoted() {
			w.value(key, &entry.values[0].one)
		} else {
			w.dst = append(w.dst, '"')
			w.value(key, &entry.values[0].one)
			w.dst = append(w.dst, '"')
		}
		w.dst = append(w.dst, ':')
		inner := &entry.values[1].one
		if of.kind == kindMessage && inner.child == nil {
			inner.child = newNode(of.message)
		}
		w.value(of, inner)
	}
	w.dst = append(w.dst, '}')
}

// quoted reports whether JSON has values of k in quotes.
func (k kind) quoted() bool {
	switch k {
	case kindString, kindInt64, kindUint64, kindSint64, kindFixed64, kindSfixed64:
		return true
	}
	return false
}

// value writes one value; the zero value is the default of every kind.
func (w *writer) value(f *field, v *value) {
	switch f.kind {
	case kindDouble, kindFloat:
		w.double(v.double(f.kind))
	case kindInt32, kindSint32, kindSfixed32:
		w.dst = strconv.AppendInt(w.dst, int64(int32(v.bits)), 10)
	case kindUint32, kindFixed32:
		w.dst = strconv.AppendUint(w.dst, uint64(uint32(v.bits)), 10)
	case kindInt64, kindSint64, kindSfixed64:
		w.dst = append(strconv.AppendInt(append(w.dst, '"'), int64(v.bits), 10), '"')
	case kindUint64, kindFixed64:
		w.dst = append(strconv.AppendUint(append(w.dst, '"'), v.bits, 10), '"')
	case kindBool:
		w.dst = strconv.AppendBool(w.dst, v.bits != 0)
	case kindString:
		w.text(v.text)
	case kindBytes:
		w.dst = append(base64.StdEncoding.AppendEncode(append(w.dst, '"'), v.text), '"')
	case kindEnum:
		if name, known := f.enum.names[int32(v.bits)]; known {
			w.text(name)
		} else {
			w.dst = strconv.AppendInt(w.dst, int64(int32(v.bits)), 10)
		}
	case kindMessage:
		w.node(v.child)
	}
}

// double writes a number with a point, so that it is read as one whatever its value.
func (w *writer) double(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		w.dst = append(w.dst, `"NaN"`...)
	case math.IsInf(f, 1):
		w.dst = append(w.dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		w.dst = append(w.dst, `"-Infinity"`...)
	default:
		from := len(w.dst)
		w.dst = strconv.AppendFloat(w.dst, f, 'f', -1, bits)
		if bytes.IndexByte(w.dst[from:], '.') < 0 {
			w.dst = append(w.dst, ".0"...)
		}
	}
}

func (w *writer) text(text any) {
	switch text := text.(type) {
	case string:
		w.dst, _ = jsontext.AppendQuote(w.dst, text)
	case []byte:
		w.dst, _ = jsontext.AppendQuote(w.dst, text)
	}
}
