package coaptransport

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// tapped is a socket whose datagrams are noted; lose says which of those that come are lost.
type tapped struct {
	*movable
	lose func(datagram []byte) bool

	mu        sync.Mutex
	sent, got [][]byte
}

func tap(t *testing.T) *tapped {
	return &tapped{movable: newMovable(t), lose: func([]byte) bool { return false }}
}

func (p *tapped) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.movable.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		p.mu.Lock()
		p.got = append(p.got, bytes.Clone(b[:n]))
		lost := p.lose(b[:n])
		p.mu.Unlock()
		if !lost {
			return n, from, nil
		}
	}
}

func (p *tapped) WriteTo(b []byte, to net.Addr) (int, error) {
	p.mu.Lock()
	p.sent = append(p.sent, bytes.Clone(b))
	p.mu.Unlock()
	return p.movable.WriteTo(b, to)
}

// latest is the datagram that was sent last.
func (p *tapped) latest() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent[len(p.sent)-1]
}

// writeRSA writes a certificate with an RSA key.
func writeRSA(t *testing.T, path string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEverySuite: each that is offered, with and without connection ids either way, against the library's own records.
func TestEverySuite(t *testing.T) {
	folder := t.TempDir()
	writeRSA(t, filepath.Join(folder, "default.pem"))
	byECDSA, byRSA := newScene(t, securely(t, nil)), newScene(t, func(c *Config) { c.DTLSListen, c.DTLSCertificates = "127.0.0.1:0", folder })
	byECDSA.Core.Add(&transporttest.Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()}, Name: "B", TransportType: "DEFAULT",
		Basic: &transporttest.Basic{Username: "meter", Password: "secret"},
	})
	for suite, s := range map[dtls.CipherSuiteID]*scene{
		dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: byECDSA, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: byRSA,
		dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: byECDSA, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: byRSA,
		dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: byECDSA, dtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: byRSA,
		dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM: byECDSA, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8: byECDSA,
		dtls.TLS_PSK_WITH_AES_128_GCM_SHA256: byECDSA, dtls.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256: byECDSA,
		dtls.TLS_PSK_WITH_AES_128_CCM: byECDSA, dtls.TLS_PSK_WITH_AES_128_CCM_8: byECDSA,
	} {
		for ids, with := range map[string][]dtls.ClientOption{
			"no id": nil, "an id to send": {dtls.WithConnectionIDGenerator(dtls.OnlySendCIDGenerator())},
			"ids both ways": {dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(5))},
		} {
			t.Run(dtls.CipherSuiteName(suite)+"/"+ids, func(t *testing.T) {
				over := tap(t)
				options := append([]dtls.ClientOption{dtls.WithCipherSuites(suite)}, with...)
				if s == byECDSA && bytes.Contains([]byte(dtls.CipherSuiteName(suite)), []byte("PSK")) {
					options = append(append(withKey("meter", "secret"), options...), with...)
				}
				p := secured(t, s, over, options...)
				for range 3 {
					if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
						t.Fatalf("%s %s", m.Code, m.Payload)
					}
				}
				if kind, want := over.latest()[0], byte(23); with != nil && kind != 25 || with == nil && kind != want {
					t.Errorf("the request was a record of kind %d", kind)
				}
			})
		}
	}
}

// TestRecordsAreTakenOnce: one that comes again, or was changed, is dropped and counted.
func TestRecordsAreTakenOnce(t *testing.T) {
	s := newScene(t, securely(t, nil))
	over := tap(t)
	p := secured(t, s, over)
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Fatalf("%s", m.Code)
	}
	record := over.latest()
	changed := bytes.Clone(record)
	changed[10] = 200 // another number
	to, err := net.ResolveUDPAddr("udp4", s.DTLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range [][]byte{record, changed} {
		if _, err := over.movable.WriteTo(d, to); err != nil {
			t.Fatal(err)
		}
	}
	// Had it been taken, it would be a retransmission, and answered before what follows.
	next := telemetryTo("api", "v1", "T", "telemetry")
	if m := p.ask(t, next); m.Code != packet.Created || m.ID != binary.BigEndian.Uint16(next[2:]) {
		t.Errorf("%s of %d", m.Code, m.ID)
	}
	if n := testutil.ToFloat64(s.metrics.discarded); n != 2 {
		t.Errorf("%v discarded", n)
	}
}

// TestForgedRecordsEndNothing: what anybody can write with a peer's address is not answered, least of all by an alert.
func TestForgedRecordsEndNothing(t *testing.T) {
	certificate := []byte{11, 0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 1, 7}
	forged := [][]byte{{20, 2}, {20, 1}, {20}, {21, 2, 40}, append([]byte{22}, certificate...), {23, 'x'}, {24, 1}}
	for name, with := range map[string][]dtls.ClientOption{"no id": nil, "ids": {dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(5))}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, securely(t, nil))
			over := tap(t)
			p := secured(t, s, over, with...)
			ask := func() {
				t.Helper()
				if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
					t.Fatalf("%s", m.Code)
				}
			}
			ask()
			to, err := net.ResolveUDPAddr("udp4", s.DTLSAddr())
			if err != nil {
				t.Fatal(err)
			}
			for epoch := range byte(3) {
				for i, f := range forged {
					record := append([]byte{f[0], 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 1, byte(i), 0, byte(len(f) - 1)}, f[1:]...)
					if _, err := over.movable.WriteTo(record, to); err != nil {
						t.Fatal(err)
					}
				}
			}
			ask()
			if n := testutil.ToFloat64(s.metrics.discarded); n != float64(3*len(forged)) {
				t.Errorf("%v of %d discarded", n, 3*len(forged))
			}
			over.mu.Lock()
			defer over.mu.Unlock()
			for _, d := range over.got {
				if d[0] == 21 {
					t.Errorf("answered by % x", d)
				}
			}
		})
	}
}

// TestLastFlightIsSentAgain when it was lost, though data was sent after it; and no number is used twice.
func TestLastFlightIsSentAgain(t *testing.T) {
	for name, with := range map[string][]dtls.ClientOption{"no id": nil, "ids": {dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(5))}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, securely(t, nil))
			over := tap(t)
			lost := 0
			over.lose = func(d []byte) bool {
				if d[0] == 20 && lost < 2 { // a change of ciphers begins it
					lost++
					return true
				}
				return false
			}
			p := secured(t, s, over, with...)
			for range 2 {
				if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
					t.Fatalf("%s", m.Code)
				}
			}
			over.mu.Lock()
			defer over.mu.Unlock()
			if lost != 2 {
				t.Fatalf("%d lost", lost)
			}
			numbers := map[uint64]bool{}
			for _, d := range over.got {
				for len(d) > 13 {
					number, at := binary.BigEndian.Uint64(d[3:]), 11
					if d[0] == 25 {
						at += 5
					}
					if numbers[number] {
						t.Errorf("number %x came twice", number)
					}
					numbers[number] = true
					d = d[at+2+int(binary.BigEndian.Uint16(d[at:])):]
				}
			}
		})
	}
}

// TestGoodbyes are believed, also after data: a client's ends its connection, and a service that stops says one.
func TestGoodbyes(t *testing.T) {
	s := newScene(t, securely(t, nil))
	for _, with := range [][]dtls.ClientOption{nil, {dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(5))}} {
		p := secured(t, s, nil, with...)
		if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
			t.Fatalf("%s", m.Code)
		}
		if err := p.conn.Close(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); testutil.ToFloat64(s.metrics.sessions) != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the connection goes on")
			}
		}
	}
	rig := transporttest.Start(t, nil)
	rig.Core.AddDevice("T")
	service, stop := start(t, rig.Transport, securely(t, nil))
	p := secured(t, &scene{Service: service}, nil)
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Fatalf("%s", m.Code)
	}
	var stopping sync.WaitGroup
	stopping.Go(stop)
	defer stopping.Wait()
	if err := p.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.conn.Read(make([]byte, 100)); !errors.Is(err, io.EOF) {
		t.Errorf("the client was told: %v", err)
	}
}

// TestLongRequestIsAnswered: what is longer than a connection takes is 4.13, as without DTLS.
func TestLongRequestIsAnswered(t *testing.T) {
	s := newScene(t, securely(t, nil))
	p := secured(t, s, nil)
	long := confirmable(packet.Post, path("api", "v1", "T", "telemetry"), append([]byte(`{"t":"`), bytes.Repeat([]byte{'x'}, dtlsBytes)...))
	if m := p.ask(t, long); m.Code != packet.TooLarge {
		t.Errorf("%s %s", m.Code, m.Payload)
	}
}

// BenchmarkSecured is a request and its answer on one connection, with the client's part.
func BenchmarkSecured(b *testing.B) {
	folder := b.TempDir()
	certificatetest.Write(b, folder, "default.pem", 1, "localhost")
	s, stop := start(b, newStrict(b), func(c *Config) { c.DTLSListen, c.DTLSCertificates = "127.0.0.1:0", folder })
	defer stop()
	to, err := net.ResolveUDPAddr("udp4", s.DTLSAddr())
	if err != nil {
		b.Fatal(err)
	}
	c, err := dtls.DialWithOptions("udp4", to, dtls.WithInsecureSkipVerify(true))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := c.HandshakeContext(context.Background()); err != nil {
		b.Fatal(err)
	}
	request, answer := telemetryTo("api", "v1", "T", "telemetry"), make([]byte, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint16(request[2:], uint16(i))
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}
