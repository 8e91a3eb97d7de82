package coaptransport

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// peer is a device with one socket, on which answers and notifications come as they may.
type peer struct {
	conn net.Conn
	// silent: what is confirmable is not acknowledged.
	silent bool
}

func newPeer(t *testing.T, s *scene) *peer {
	t.Helper()
	return &peer{conn: dial(t, s.Service)}
}

func (p *peer) send(t *testing.T, datagram []byte) {
	t.Helper()
	if _, err := p.conn.Write(datagram); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next message that is not empty, acknowledged if it asks for that; false: none came within wait.
func (p *peer) receive(t *testing.T, wait time.Duration) (packet.Message, bool) {
	t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	for {
		buffer := make([]byte, 1<<12)
		n, err := p.conn.Read(buffer)
		if err != nil {
			return packet.Message{}, false
		}
		m, err := packet.Parse(buffer[:n])
		if err != nil {
			t.Fatalf("% x: %v", buffer[:n], err)
		}
		if m.Type == packet.Confirmable && !p.silent {
			kind := packet.Acknowledgement
			if m.Code == packet.Empty {
				kind = packet.Reset
			}
			p.send(t, packet.AppendHeader(nil, kind, packet.Empty, m.ID, nil))
		}
		if m.Code != packet.Empty {
			return m, true
		}
	}
}

// ask sends datagram and returns the next answer.
func (p *peer) ask(t *testing.T, datagram []byte) packet.Message {
	t.Helper()
	p.send(t, datagram)
	return p.expect(t)
}

// expect returns what comes next, which something must.
func (p *peer) expect(t *testing.T) packet.Message {
	t.Helper()
	m, ok := p.receive(t, 20*time.Second)
	if !ok {
		t.Fatal("nothing came")
	}
	return m
}

// notified expects a notification with that sequence number and payload.
func (p *peer) notified(t *testing.T, token []byte, sequence uint32, payload string) packet.Message {
	t.Helper()
	m := p.expect(t)
	o := optionsOf(m)
	if got, ok := o[packet.Observe]; m.Code != packet.Content || !bytes.Equal(m.Token, token) || !ok || got != sequence || string(m.Payload) != payload {
		t.Fatalf("got %s of % x, Observe %d (%v), %s; want %d, %s", m.Code, m.Token, got, ok, m.Payload, sequence, payload)
	}
	return m
}

// observing is a request to observe a path, or to do so no more, under a token.
func observing(kind packet.Type, value uint32, token []byte, segments ...string) []byte {
	o := append([]option{number(packet.Observe, value)}, path(segments...)...)
	d := message(kind, packet.Get, o, nil)
	head := packet.AppendHeader(nil, kind, packet.Get, uint16(d[2])<<8|uint16(d[3]), token)
	return append(head, d[packet.HeaderSize+len(testToken):]...)
}
