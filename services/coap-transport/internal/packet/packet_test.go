package packet

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// post is a confirmable POST to api/v1/T/telemetry with token 0x0102 and a payload.
func post() []byte {
	d := AppendHeader(nil, Confirmable, Post, 0x1234, []byte{1, 2})
	var last Option
	for _, segment := range []string{"api", "v1", "T", "telemetry"} {
		d = AppendOption(d, last, URIPath, []byte(segment))
		last = URIPath
	}
	return AppendPayload(d, []byte(`{"t":1}`))
}

func TestParse(t *testing.T) {
	m, err := Parse(post())
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != Confirmable || m.Code != Post || m.ID != 0x1234 || !bytes.Equal(m.Token, []byte{1, 2}) || string(m.Payload) != `{"t":1}` {
		t.Errorf("parsed %+v", m)
	}
	var path []string
	for o, value := range m.Options.All() {
		if o != URIPath {
			t.Errorf("option %d", o)
		}
		path = append(path, string(value))
	}
	if diff := cmp.Diff([]string{"api", "v1", "T", "telemetry"}, path); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name     string
		datagram []byte
		want     error
	}{
		{"nothing", nil, ErrShort},
		{"half a header", []byte{0x40, 1, 0}, ErrShort},
		{"version 0", []byte{0x00, 1, 0, 1}, ErrVersion},
		{"version 2", []byte{0x80, 1, 0, 1}, ErrVersion},
		{"token of nine bytes", append([]byte{0x49, 1, 0, 1}, make([]byte, 9)...), ErrToken},
		{"token cut off", []byte{0x42, 1, 0, 1, 7}, ErrToken},
		{"empty message with a token", []byte{0x41, 0, 0, 1, 7}, ErrCode},
		{"empty message with more", []byte{0x40, 0, 0, 1, 0xff, 1}, ErrCode},
		{"code of class 1", []byte{0x40, 1 << 5, 0, 1}, ErrCode},
		{"code of class 7", []byte{0x40, 7<<5 | 1, 0, 1}, ErrCode},
		{"payload marker alone", []byte{0x40, 2, 0, 1, 0xff}, ErrPayload},
		{"option cut off", []byte{0x40, 2, 0, 1, 0xb3, 'a', 'p'}, ErrOption},
		{"option delta 15", []byte{0x40, 2, 0, 1, 0xf0}, ErrOption},
		{"option length 15", []byte{0x40, 2, 0, 1, 0x0f}, ErrOption},
		{"option delta's extension cut off", []byte{0x40, 2, 0, 1, 0xd0}, ErrOption},
		{"option length's extension cut off", []byte{0x40, 2, 0, 1, 0x0e, 1}, ErrOption},
		{"option number above 65535", []byte{0x40, 2, 0, 1, 0xe0, 0xff, 0xff}, ErrOption},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse(c.datagram); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestTruncatedAtEveryByte: a message cut short is refused or is a shorter message, never more.
func TestTruncatedAtEveryByte(t *testing.T) {
	whole := post()
	for n := range whole {
		m, err := Parse(whole[:n])
		if err == nil && len(m.Options)+len(m.Payload)+len(m.Token)+HeaderSize > n {
			t.Errorf("cut at %d: parsed more than there is: %+v", n, m)
		}
	}
}

func TestOptionLengths(t *testing.T) {
	for _, length := range []int{0, 1, 12, 13, 14, 268, 269, 270, 1034} {
		for _, number := range []Option{1, 12, 13, 14, 268, 269, 270, 65535} {
			value := bytes.Repeat([]byte{'x'}, length)
			d := AppendOption(AppendHeader(nil, NonConfirmable, Get, 1, nil), 0, number, value)
			m, err := Parse(d)
			if err != nil {
				t.Fatalf("option %d of %d bytes: %v", number, length, err)
			}
			for o, v := range m.Options.All() {
				if o != number || !bytes.Equal(v, value) {
					t.Errorf("option %d of %d bytes came back as %d of %d", number, length, o, len(v))
				}
			}
		}
	}
}

func TestUint(t *testing.T) {
	for _, n := range []uint32{0, 1, 50, 255, 256, 65535, 65536, 1<<24 - 1, 1 << 24, 1<<32 - 1} {
		m, err := Parse(AppendUint(AppendHeader(nil, NonConfirmable, Get, 1, nil), 0, Size1, n))
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range m.Options.All() {
			if got, ok := Uint(value); !ok || got != n {
				t.Errorf("%d came back as %d, %v", n, got, ok)
			}
			if len(value) > 0 && value[0] == 0 {
				t.Errorf("%d is not in its shortest form: % x", n, value)
			}
		}
	}
	if _, ok := Uint(make([]byte, 5)); ok {
		t.Error("five bytes pass for an integer")
	}
}

func TestBlock(t *testing.T) {
	for _, b := range []Block{{}, {Number: 1, More: true, Exponent: 6}, {Number: 1<<20 - 1, Exponent: 2}} {
		m, err := Parse(AppendUint(AppendHeader(nil, NonConfirmable, Post, 1, nil), 0, Block1, b.Value()))
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range m.Options.All() {
			if got, ok := ParseBlock(value); !ok || got != b {
				t.Errorf("%+v came back as %+v, %v", b, got, ok)
			}
		}
	}
	if _, ok := ParseBlock([]byte{7}); ok {
		t.Error("the reserved block size is accepted")
	}
}

// FuzzParse holds the parser to another one: what it accepts, that one reads the same way.
func FuzzParse(f *testing.F) {
	f.Add(post())
	f.Add([]byte{0x40, 0, 0, 1})
	f.Add(AppendHeader(nil, Reset, Empty, 7, nil))
	f.Add(AppendUint(AppendHeader(nil, NonConfirmable, Get, 1, []byte("12345678")), 0, Block2, 6))
	f.Add(AppendOption(AppendHeader(nil, Confirmable, Get, 1, nil), 0, 65000, bytes.Repeat([]byte{1}, 300)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		m, err := Parse(datagram)
		if err != nil {
			return
		}
		if !bytes.Equal(rebuilt(m), datagram) && shortest(m) {
			t.Errorf("% x written again is % x", datagram, rebuilt(m))
		}
		other := message.Message{Options: make(message.Options, 0, len(datagram))}
		if _, err := coder.DefaultCoder.Decode(datagram, &other); err != nil {
			t.Fatalf("% x is accepted, and refused elsewhere: %v", datagram, err)
		}
		if m.Type != Type(other.Type) || m.Code != Code(other.Code) || int32(m.ID) != other.MessageID ||
			!bytes.Equal(m.Token, other.Token) || !bytes.Equal(m.Payload, other.Payload) {
			t.Errorf("% x is %+v, elsewhere %+v", datagram, m, other)
		}
	})
}

func rebuilt(m Message) []byte {
	d := AppendHeader(nil, m.Type, m.Code, m.ID, m.Token)
	var last Option
	for o, value := range m.Options.All() {
		d = AppendOption(d, last, o, value)
		last = o
	}
	return AppendPayload(d, m.Payload)
}

// shortest reports whether no option's delta or length is written longer than need be, which
// the format does not forbid.
func shortest(m Message) bool {
	size := 0
	var last Option
	for o, value := range m.Options.All() {
		size += len(AppendOption(nil, last, o, value))
		last = o
	}
	return size == len(m.Options)
}

func BenchmarkParse(b *testing.B) {
	d := post()
	b.ReportAllocs()
	for b.Loop() {
		m, err := Parse(d)
		if err != nil {
			b.Fatal(err)
		}
		for range m.Options.All() {
			continue
		}
	}
}

// BenchmarkParseElsewhere is the codec this one is measured against.
func BenchmarkParseElsewhere(b *testing.B) {
	d := post()
	options := make(message.Options, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		m := message.Message{Options: options[:0]}
		if _, err := coder.DefaultCoder.Decode(d, &m); err != nil {
			b.Fatal(err)
		}
	}
}
