package secure

import (
	"bytes"
	"testing"
)

func TestWhoseARecordIs(t *testing.T) {
	head := func(kind byte, epoch byte) []byte { return []byte{kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0} }
	for _, c := range []struct {
		name string
		d    []byte
		ok   bool
		want record
	}{
		{"hello", append(head(22, 0), 0, 1, 1), true, record{kind: 22, hello: true}},
		{"other handshake", append(head(22, 0), 0, 1, 16), true, record{kind: 22}},
		{"encrypted", append(head(23, 1), 0, 1, 9), true, record{kind: 23, epoch: 1}},
		{"by id", append(append(head(25, 1), "12345678"...), 0, 1, 9), true, record{kind: 25, epoch: 1, hasCID: true, cid: connectionID([]byte("12345678"))}},
		{"half an id", append(head(25, 1), "1234"...), false, record{}},
		{"CoAP", []byte{0x40, 1, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false, record{}},
		{"TLS", append([]byte{22, 3, 3}, make([]byte, 20)...), false, record{}},
		{"nothing", nil, false, record{}},
	} {
		if got, ok := parse(c.d); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, ok)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(append([]byte{25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0}, "12345678xx"...))
	f.Add([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, d []byte) {
		r, ok := parse(d)
		if ok && (len(d) < headerSize || r.hasCID && !bytes.Contains(d, r.cid[:]) || r.hello && r.epoch != 0) {
			t.Errorf("% x is %+v", d, r)
		}
	})
}
