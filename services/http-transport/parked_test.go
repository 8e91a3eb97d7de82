package httptransport

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestParkedPollsCostWhatIdleConnectionsCost compares connections whose device waits for a downlink with connections that wait for a request.
func TestParkedPollsCostWhatIdleConnectionsCost(t *testing.T) {
	const devices = 500
	d := openDoor(t, nil, nil)
	for i := range devices {
		d.Core.AddDevice(tokenOf(i))
	}
	address := strings.TrimSuffix(strings.TrimPrefix(d.base, "http://"), "/api/v1/")
	connections := make([]net.Conn, devices)
	before := inUse()
	for i := range connections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		connections[i] = conn
		fmt.Fprintf(conn, "POST /api/v1/%s/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", tokenOf(i))
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 256)
		if n, err := conn.Read(head); err != nil || !strings.HasPrefix(string(head[:n]), "HTTP/1.1 200") {
			t.Fatalf("%s %v", head[:n], err)
		}
	}
	idle := (inUse() - before) / devices
	for i, conn := range connections {
		fmt.Fprintf(conn, "GET /api/v1/%s/rpc?timeout=300000 HTTP/1.1\r\nHost: x\r\n\r\n", tokenOf(i))
	}
	awaitParked(t, d, devices)
	d.Reports(t, devices)
	parked := (inUse() - before) / devices
	t.Logf("%d bytes per idle connection with its device, %d per parked poll", idle, parked)
	if parked > 3*idle {
		t.Errorf("a parked poll takes %d bytes, an idle connection %d", parked, idle)
	}
	for _, conn := range connections { // they are polls: a change of the service's mind ends them
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	d.service.EndWaits()
	for _, conn := range connections {
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "503") {
			t.Fatalf("%s %v", line, err)
		}
	}
}

// inUse is the memory that objects and stacks take.
func inUse() int {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// BenchmarkPoll is one poll from its request to its answer, of a device that has a request waiting at once.
func BenchmarkPoll(b *testing.B) {
	d := openDoor(b, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		if a := d.do(b, "GET", "T/rpc?timeout=1", "", nil); a.status != 408 {
			b.Fatal(a.status)
		}
	}
}
