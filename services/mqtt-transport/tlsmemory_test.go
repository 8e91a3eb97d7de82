//go:build linux && !race

package mqtttransport

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// clientsOf names the address to which this program, run as a child, is the clients.
const clientsOf = "SLUICE_TEST_TLS_CLIENTS_OF"

// tlsClients is how many there are.
const tlsClients = 2000

// TestIdleMemoryUnderTLS: accepted connections under TLS that have sent a reading cost at most 24 KB of
// process memory each. The clients are another process, so that what this one grows by is the server's.
func TestIdleMemoryUnderTLS(t *testing.T) {
	if address := os.Getenv(clientsOf); address != "" {
		beClients(t, address)
		return
	}
	const perConnection = 24 << 10
	core := transporttest.NewCore()
	quiet := forgetful{transporttest.NewBus(core)}
	t.Cleanup(quiet.Close)
	tr, err := transport.New(transporttest.Config(t), quiet, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tlsClients {
		core.AddDevice(fmt.Sprintf("DEVICE-%013d", i))
	}
	folder := t.TempDir()
	certificatetest.Write(t, folder, "default.pem", 1, "localhost")
	s, stop := serve(t, tr, func(c *Config) {
		c.TLSListen, c.TLSCertificates, c.Inactivity = "127.0.0.1:0", folder, time.Hour
	})
	t.Cleanup(stop)
	child := exec.Command(os.Args[0], "-test.run=^TestIdleMemoryUnderTLS$")
	child.Env = append(os.Environ(), clientsOf+"="+s.TLSAddr())
	child.Stderr = os.Stderr
	release, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	before := resident(t)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the clients say %q (%v)", line, err)
	}
	each := (resident(t) - before) / tlsClients
	if err := release.Close(); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, ready) // until it has ended
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d idle connections under TLS: %d bytes each", tlsClients, each)
	if each > perConnection {
		t.Errorf("%d bytes per idle connection under TLS, more than %d", each, perConnection)
	}
}

// beClients connects them, says so, and stays until standard input ends.
func beClients(t *testing.T, address string) {
	for i := range tlsClients {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), v311)
		if code := c.connect(hello(fmt.Sprint("client-", i), fmt.Sprintf("DEVICE-%013d", i), "-")); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		c.acknowledged(telemetryTopic, `{"temperature":21.5}`)
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		c.expect(packets.Pingresp)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
