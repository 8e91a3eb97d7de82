package system

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// The options and codes of CoAP that the cases use (RFC 7252, 7641, 7959).
const (
	coapObserve = 6
	coapPath    = 11
	coapFormat  = 12
	coapQuery   = 15
	coapBlock2  = 23
	coapBlock1  = 27

	coapGet  = 1
	coapPost = 2
	coapPut  = 3
)

// coapClient is a device that speaks CoAP over a connection of UDP or DTLS, written by hand. Requests go one after the other.
type coapClient struct {
	t    *testing.T
	conn net.Conn
	id   uint16
	// early are notifications that came while an answer was waited for.
	early []coapMessage
}

type coapOption struct {
	number int
	value  string
}

// coapRequest is one; without a token of its own it gets one.
type coapRequest struct {
	code    byte
	path    string // segments between slashes; with whole all in one option
	whole   bool
	query   []string
	token   string
	observe int // 0: none, 1: register, 2: cancel
	block1  int // value + 1
	block2  int // value + 1
	payload string
	non     bool
}

type coapMessage struct {
	kind, code byte
	id         uint16
	token      string
	options    map[int]uint32
	payload    string
}

// status writes a code as people do: 205 is 2.05.
func (m coapMessage) status() int { return int(m.code>>5)*100 + int(m.code&31) }

func coapDial(t *testing.T, address string) *coapClient {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	return coapOver(t, conn)
}

func coapOver(t *testing.T, conn net.Conn) *coapClient {
	t.Cleanup(func() { _ = conn.Close() })
	return &coapClient{t: t, conn: conn, id: uint16(rand.Uint32())}
}

func coapUint(n int) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	return strings.TrimLeft(string(b), "\x00")
}

// do sends r and returns its answer.
func (c *coapClient) do(r coapRequest) coapMessage {
	c.t.Helper()
	token := c.send(r)
	for {
		m, ok := c.read(deviceTime)
		if !ok {
			c.t.Fatalf("no answer to %s", r.path)
		}
		if m.token == token {
			return m
		}
		c.early = append(c.early, m)
	}
}

func (c *coapClient) send(r coapRequest) (token string) {
	c.t.Helper()
	c.id++
	token = r.token
	if token == "" {
		token = string(binary.BigEndian.AppendUint16([]byte{'t'}, c.id))
	}
	kind := byte(0)
	if r.non {
		kind = 1
	}
	d := append([]byte{0x40 | kind<<4 | byte(len(token)), r.code, byte(c.id >> 8), byte(c.id)}, token...)
	last := 0
	for _, o := range r.options() {
		delta, length := coapNibble(o.number-last), coapNibble(len(o.value))
		d = append(d, delta[0]<<4|length[0])
		d = append(append(append(d, delta[1:]...), length[1:]...), o.value...)
		last = o.number
	}
	if r.payload != "" {
		d = append(append(d, 0xff), r.payload...)
	}
	if _, err := c.conn.Write(d); err != nil {
		c.t.Fatal(err)
	}
	return token
}

func (r coapRequest) options() (all []coapOption) {
	if r.observe > 0 {
		all = append(all, coapOption{coapObserve, coapUint(r.observe - 1)})
	}
	if r.whole {
		all = append(all, coapOption{coapPath, r.path})
	} else {
		for segment := range strings.SplitSeq(r.path, "/") {
			all = append(all, coapOption{coapPath, segment})
		}
	}
	for _, item := range r.query {
		all = append(all, coapOption{coapQuery, item})
	}
	if r.block2 > 0 {
		all = append(all, coapOption{coapBlock2, coapUint(r.block2 - 1)})
	}
	if r.block1 > 0 {
		all = append(all, coapOption{coapBlock1, coapUint(r.block1 - 1)})
	}
	return all
}

// coapNibble is n's four bits and what extends them.
func coapNibble(n int) []byte {
	switch {
	case n < 13:
		return []byte{byte(n)}
	case n < 269:
		return []byte{13, byte(n - 13)}
	}
	return []byte{14, byte((n - 269) >> 8), byte(n - 269)}
}

// read returns the next message with a code, acknowledging what asks for it.
func (c *coapClient) read(wait time.Duration) (coapMessage, bool) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	for {
		d := make([]byte, 2048)
		n, err := c.conn.Read(d)
		if err != nil {
			return coapMessage{}, false
		}
		m := c.parse(d[:n])
		if m.kind == 0 {
			if _, err := c.conn.Write([]byte{0x60, 0, byte(m.id >> 8), byte(m.id)}); err != nil {
				c.t.Fatal(err)
			}
		}
		if m.code != 0 {
			return m, true
		}
	}
}

func (c *coapClient) parse(d []byte) coapMessage {
	c.t.Helper()
	if len(d) < 4 || len(d) < 4+int(d[0]&15) {
		c.t.Fatalf("no CoAP: % x", d)
	}
	m := coapMessage{kind: d[0] >> 4 & 3, code: d[1], id: binary.BigEndian.Uint16(d[2:]), options: map[int]uint32{}}
	end := 4 + int(d[0]&15)
	m.token = string(d[4:end])
	number, rest := 0, d[end:]
	for len(rest) > 0 && rest[0] != 0xff {
		delta, length := int(rest[0]>>4), int(rest[0]&15)
		rest = rest[1:]
		for _, n := range []*int{&delta, &length} {
			switch *n {
			case 13:
				*n, rest = int(rest[0])+13, rest[1:]
			case 14:
				*n, rest = int(binary.BigEndian.Uint16(rest))+269, rest[2:]
			}
		}
		number += delta
		value := uint32(0)
		for _, b := range rest[:length] {
			value = value<<8 | uint32(b)
		}
		m.options[number], rest = value, rest[length:]
	}
	if len(rest) > 0 {
		m.payload = string(rest[1:])
	}
	return m
}

// notification returns the next that came for token.
func (c *coapClient) notification(token string) coapMessage {
	c.t.Helper()
	for i, m := range c.early {
		if m.token == token {
			c.early = append(c.early[:i], c.early[i+1:]...)
			return m
		}
	}
	for {
		m, ok := c.read(deviceTime)
		if !ok {
			c.t.Fatal("no notification")
		}
		if m.token == token {
			return m
		}
		c.early = append(c.early, m)
	}
}

// silent checks that nothing comes for a moment.
func (c *coapClient) silent() {
	c.t.Helper()
	if m, ok := c.read(300 * time.Millisecond); ok || len(c.early) > 0 {
		c.t.Fatalf("got %d %s, %v", m.status(), m.payload, c.early)
	}
}
