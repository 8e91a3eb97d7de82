package listener

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type counts struct{ received, sent, unsent atomic.Int64 }

func (c *counts) Received(n int) { c.received.Add(int64(n)) }
func (c *counts) Sent(n int)     { c.sent.Add(int64(n)) }
func (c *counts) Unsent()        { c.unsent.Add(1) }

var testOptions = Options{Address: "127.0.0.1:0", DatagramBytes: 100, Batch: 4, OutboxBytes: 1 << 20, ReceiveBufferBytes: 1 << 20}

// echo runs a listener that sends everything back, until stop.
func echo(t *testing.T, o Options) (addr string, c *counts, stop func()) {
	t.Helper()
	c = &counts{}
	l, err := Open(o, c)
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		err := l.Read(func(from exchange.Endpoint, datagram []byte, cut bool) {
			l.Send(from, append([]byte(fmt.Sprint(cut)), datagram...))
		})
		if err != nil {
			t.Error(err)
		}
	})
	return l.Addr(), c, func() {
		l.StopReading()
		reading.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func roundTrip(t *testing.T, network, addr string, datagram []byte) string {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(datagram); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 2000)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

func TestThereAndBack(t *testing.T) {
	addr, _, stop := echo(t, testOptions)
	defer stop()
	full := bytes.Repeat([]byte{'x'}, 100)
	for _, c := range []struct {
		sent []byte
		want string
	}{
		{[]byte("a"), "falsea"},
		{nil, "false"},
		{full, "false" + string(full)},
		{append(full, 'y'), "true" + string(full)},
		{bytes.Repeat([]byte{'x'}, 1000), "true" + string(full)},
	} {
		if got := roundTrip(t, "udp", addr, c.sent); got != c.want {
			t.Errorf("%d bytes came back as %q", len(c.sent), got)
		}
	}
}

func TestBothFamilies(t *testing.T) {
	o := testOptions
	o.Address = ":0"
	addr, _, stop := echo(t, o)
	defer stop()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if got := roundTrip(t, "udp4", "127.0.0.1:"+port, []byte("four")); got != "falsefour" {
		t.Errorf("IPv4: %q", got)
	}
	if probe, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Logf("this machine has no IPv6: %v", err)
		return
	} else if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	if got := roundTrip(t, "udp6", "[::1]:"+port, []byte("six")); got != "falsesix" {
		t.Errorf("IPv6: %q", got)
	}
}

func TestFullOutboxDrops(t *testing.T) {
	o := testOptions
	o.OutboxBytes = 10
	c := &counts{}
	l, err := Open(o, c)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	to := exchange.Endpoint{Peer: sink.LocalAddr().(*net.UDPAddr).AddrPort()}
	l.Send(to, make([]byte, 11))
	l.Send(to, make([]byte, 10))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Send(to, []byte{1}) // too late
	if c.unsent.Load() != 2 || c.sent.Load() != 1 {
		t.Errorf("%d dropped, %d sent", c.unsent.Load(), c.sent.Load())
	}
}

// TestUnreachablePeer: a datagram that cannot be sent does not keep the others from being sent.
func TestUnreachablePeer(t *testing.T) {
	c := &counts{}
	l, err := Open(testOptions, c)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	for range 3 {
		l.Send(exchange.Endpoint{}, []byte("nowhere"))
		l.Send(exchange.Endpoint{Peer: sink.LocalAddr().(*net.UDPAddr).AddrPort()}, []byte("here"))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if c.unsent.Load() != 3 || c.sent.Load() != 3 {
		t.Errorf("%d dropped, %d sent", c.unsent.Load(), c.sent.Load())
	}
}

func TestBadAddresses(t *testing.T) {
	for _, address := range []string{"nowhere", "127.0.0.1:notaport", "192.0.2.1:0"} {
		o := testOptions
		o.Address = address
		if _, err := Open(o, &counts{}); err == nil {
			t.Errorf("%s is accepted", address)
		}
	}
}
