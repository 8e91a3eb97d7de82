package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// header makes one of what follows the signature.
func header(command, family byte, body string) string {
	b := append([]byte(signature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(body)))) + body
}

const (
	inet4 = "\xcb\x00\x71\x07" + "\x0a\x00\x00\x01" + "\xc3\x50" + "\x07\x5b" // 203.0.113.7:50000 → 10.0.0.1:1883
	inet6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\xc3\x50" + "\x07\x5b"
	mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xcb\x00\x71\x07"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		client string // "": none
		err    error
	}{
		"IPv4":                       {header(0x21, 0x11, inet4), "203.0.113.7:50000", nil},
		"IPv6":                       {header(0x21, 0x21, inet6), "[2001:db8::7]:50000", nil},
		"IPv4 as IPv6":               {header(0x21, 0x21, mapped+inet6[16:]), "203.0.113.7:50000", nil},
		"with more after them":       {header(0x21, 0x11, inet4+"\x03\x00\x04abcd"), "203.0.113.7:50000", nil},
		"largest":                    {header(0x21, 0x11, inet4+strings.Repeat("x", MaxBytes-16-12)), "203.0.113.7:50000", nil},
		"local":                      {header(0x20, 0x00, ""), "", nil},
		"local with addresses":       {header(0x20, 0x11, inet4), "", nil},
		"client not told":            {header(0x21, 0x00, ""), "", nil},
		"Unix socket":                {header(0x21, 0x31, strings.Repeat("x", 216)), "", nil},
		"too long":                   {header(0x21, 0x11, inet4+strings.Repeat("x", MaxBytes-16-11)), "", ErrTooLong},
		"longest":                    {signature + "\x21\x11\xff\xff", "", ErrTooLong},
		"UDP":                        {header(0x21, 0x12, inet4), "", ErrMalformed},
		"unknown family":             {header(0x21, 0x41, inet4), "", ErrMalformed},
		"unknown command":            {header(0x22, 0x11, inet4), "", ErrMalformed},
		"version 3":                  {header(0x31, 0x11, inet4), "", ErrMalformed},
		"address cut off":            {header(0x21, 0x11, inet4[:11]), "", ErrMalformed},
		"IPv6 address cut off":       {header(0x21, 0x21, inet6[:35]), "", ErrMalformed},
		"begins like one":            {"\r\nGET", "", ErrMalformed},
		"last byte of the signature": {signature[:11] + "x", "", ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			client, size, err := Parse([]byte(c.header + "what follows"))
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			want := netip.AddrPort{}
			if c.client != "" {
				want = netip.MustParseAddrPort(c.client)
			}
			if client != want || size != len(c.header) {
				t.Errorf("client %v, %d bytes; want %v, %d", client, size, want, len(c.header))
			}
			for n := range c.header {
				if _, _, err := Parse([]byte(c.header[:n])); err != ErrShort {
					t.Fatalf("%d of its bytes: %v", n, err)
				}
			}
		})
	}
}

func TestNoHeader(t *testing.T) {
	for _, text := range []string{"\x10\x0e\x00\x04MQTT", "\x16\x03\x01", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "GET /"} {
		if client, size, err := Parse([]byte(text)); client.IsValid() || size != 0 || err != nil {
			t.Errorf("%q: %v, %d, %v", text, client, size, err)
		}
	}
}

func TestTrusted(t *testing.T) {
	trusted, err := ParseTrusted([]string{"10.1.2.3/8", "192.0.2.7", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false, "::ffff:10.0.0.1": true,
		"2001:db8::1": true, "2001:db9::1": false,
	} {
		if got := trusted.Contains(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
	for _, text := range []string{"", "10.0.0.0/33", "haproxy"} {
		if _, err := ParseTrusted([]string{text}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: error %v", text, err)
		}
	}
	if Trusted(nil).Contains(netip.MustParseAddr("127.0.0.1")) {
		t.Error("nobody named, but trusted")
	}
}

// FuzzParse: however the bytes are cut, the answer is the same, and nothing is read beyond the header.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		header(0x21, 0x11, inet4), header(0x21, 0x21, inet6), header(0x20, 0, ""), signature, "\x10\x00", signature + "\x21\x11\xff\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, size, err := Parse(b)
		switch {
		case size > MaxBytes, size > len(b), size < 0:
			t.Fatalf("size %d of %d bytes", size, len(b))
		case client.IsValid() && (size == 0 || err != nil):
			t.Fatalf("client %v, size %d, %v", client, size, err)
		case errors.Is(err, ErrShort) && len(b) >= MaxBytes:
			t.Fatal("waits for more than a header has")
		}
		for n := range min(len(b), MaxBytes) {
			c, s, e := Parse(b[:n])
			if e == ErrShort {
				continue
			}
			if e != nil && err == nil || e == nil && (c != client || s != size) {
				t.Fatalf("%d bytes: %v, %d, %v; all: %v, %d, %v", n, c, s, e, client, size, err)
			}
		}
		if size > 0 && err == nil {
			more := append(bytes.Clone(b[:size]), 0xff)
			if c, s, e := Parse(more); c != client || s != size || e != nil {
				t.Fatalf("what follows changes it: %v, %d, %v", c, s, e)
			}
		}
	})
}
