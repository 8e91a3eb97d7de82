package coaptransport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// securely has the service listen for DTLS with a certificate of its own.
func securely(t *testing.T, change func(*Config)) func(*Config) {
	t.Helper()
	folder := t.TempDir()
	certificatetest.Write(t, folder, "default.pem", 1, "localhost")
	return func(c *Config) {
		c.DTLSListen, c.DTLSCertificates = "127.0.0.1:0", folder
		if change != nil {
			change(c)
		}
	}
}

// ownCertificate is one that its holder signed, valid until then.
func ownCertificate(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "device"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// movable is a socket whose address changes when it is told, as behind a translator of addresses.
type movable struct {
	mu sync.Mutex
	*net.UDPConn
}

func newMovable(t *testing.T) *movable {
	t.Helper()
	m := &movable{}
	m.move(t)
	return m
}

func (m *movable) move(t *testing.T) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // or its user has
	m.mu.Lock()
	before := m.UDPConn
	m.UDPConn = c
	m.mu.Unlock()
	if before != nil {
		_ = before.Close() // who reads it turns to the new one
	}
}

func (m *movable) socket() *net.UDPConn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.UDPConn
}

func (m *movable) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c := m.socket()
		n, from, err := c.ReadFrom(b)
		if err == nil || c == m.socket() {
			return n, from, err
		}
	}
}

func (m *movable) WriteTo(b []byte, to net.Addr) (int, error) { return m.socket().WriteTo(b, to) }

// secureDial makes a DTLS connection.
func secureDial(t *testing.T, s *scene, over net.PacketConn, options ...dtls.ClientOption) (*dtls.Conn, error) {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp4", s.DTLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	if over == nil {
		over = newMovable(t)
	}
	c, err := dtls.ClientWithOptions(over, to, append([]dtls.ClientOption{dtls.WithInsecureSkipVerify(true)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the service may have closed it
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return c, c.HandshakeContext(ctx)
}

func secured(t *testing.T, s *scene, over net.PacketConn, options ...dtls.ClientOption) *peer {
	t.Helper()
	c, err := secureDial(t, s, over, options...)
	if err != nil {
		t.Fatal(err)
	}
	return &peer{conn: c}
}

func telemetryTo(segments ...string) []byte {
	return confirmable(packet.Post, path(segments...), []byte(`{"t":1}`))
}

func withKey(identity, key string) []dtls.ClientOption {
	return []dtls.ClientOption{
		dtls.WithPSK(func([]byte) ([]byte, error) { return []byte(key), nil }), dtls.WithPSKIdentityHint([]byte(identity)),
		dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_CCM_8),
	}
}

func TestC13KnownCertificate(t *testing.T) {
	s := newScene(t, securely(t, nil))
	own := ownCertificate(t, time.Now().Add(time.Hour))
	d := &transporttest.Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()}, Name: "X", TransportType: "DEFAULT", Certificate: own.Certificate[0],
	}
	s.Core.Add(d)
	p := secured(t, s, nil, dtls.WithCertificates(own))
	if m := p.ask(t, telemetryTo("api", "v1", "telemetry")); m.Code != packet.Created {
		t.Fatalf("%s %s", m.Code, m.Payload)
	}
	// A token in the path is not looked at: the certificate tells.
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Errorf("%s %s", m.Code, m.Payload)
	}
	for _, uplink := range s.Uplinks(t, 2) {
		if uplink.Device != d.ID {
			t.Errorf("stored for %s", uplink.Device)
		}
	}
	// What is revoked is refused, connected or not.
	s.Core.Remove(d)
	s.Changed(t, d, false, true)
	if m := p.ask(t, telemetryTo("api", "v1", "telemetry")); m.Code != packet.Unauthorized {
		t.Errorf("after it was revoked: %s", m.Code)
	}
}

func TestC14UnknownCertificate(t *testing.T) {
	s := newScene(t, securely(t, nil))
	for name, options := range map[string][]dtls.ClientOption{
		"unknown": {dtls.WithCertificates(ownCertificate(t, time.Now().Add(time.Hour)))}, "none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			p := secured(t, s, nil, options...)
			if m := p.ask(t, telemetryTo("api", "v1", "telemetry")); m.Code != packet.Unauthorized {
				t.Errorf("without a token: %s", m.Code)
			}
			if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
				t.Errorf("with a token: %s %s", m.Code, m.Payload)
			}
		})
	}
}

func TestExpiredCertificate(t *testing.T) {
	s := newScene(t, securely(t, nil))
	if _, err := secureDial(t, s, nil, dtls.WithCertificates(ownCertificate(t, time.Now().Add(-time.Hour)))); err == nil {
		t.Error("the handshake was completed")
	}
}

func TestSharedKey(t *testing.T) {
	s := newScene(t, func(c *Config) { c.DTLSListen = "127.0.0.1:0" }) // without certificates
	s.Core.Add(&transporttest.Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()}, Name: "B", TransportType: "DEFAULT",
		Basic: &transporttest.Basic{Username: "meter", Password: "secret"},
	})
	s.Core.Add(&transporttest.Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()}, Name: "C", TransportType: "DEFAULT",
		Basic: &transporttest.Basic{ClientID: "c", Username: "both", Password: "secret"},
	})
	for _, identity := range []string{"meter", "c|both"} {
		if m := secured(t, s, nil, withKey(identity, "secret")...).ask(t, telemetryTo("api", "v1", "telemetry")); m.Code != packet.Created {
			t.Errorf("%s: %s %s", identity, m.Code, m.Payload)
		}
	}
	for _, c := range [][2]string{{"meter", "wrong"}, {"nobody", "secret"}, {"T", "T"}} {
		over := newMovable(t)
		to, err := net.ResolveUDPAddr("udp4", s.DTLSAddr())
		if err != nil {
			t.Fatal(err)
		}
		client, err := dtls.ClientWithOptions(over, to, withKey(c[0], c[1])...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := client.HandshakeContext(ctx); err == nil {
			t.Errorf("%s with the key %s: accepted", c[0], c[1])
		}
		cancel()
		_ = client.Close() // it was never open
	}
}

// TestConnectionSurvivesAnotherAddress: a connection id names it (RFC 9146), for requests and for notifications.
func TestConnectionSurvivesAnotherAddress(t *testing.T) {
	s := newScene(t, securely(t, nil))
	over := newMovable(t)
	p := secured(t, s, over, dtls.WithConnectionIDGenerator(dtls.OnlySendCIDGenerator()))
	p.ask(t, observing(packet.Confirmable, 0, []byte{1}, "api", "v1", "T", "attributes"))
	over.move(t)
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Fatalf("%s", m.Code)
	}
	s.UpdateAttributes(t, s.device, long("k", 1))
	p.notified(t, []byte{1}, 1, `{"k":1}`)
}

// TestConnectionsOutliveTheCertificate: another one is shown to who comes then.
func TestConnectionsOutliveTheCertificate(t *testing.T) {
	folder := t.TempDir()
	certificatetest.Write(t, folder, "default.pem", 1, "localhost")
	s := newScene(t, func(c *Config) { c.DTLSListen, c.DTLSCertificates = "127.0.0.1:0", folder })
	p := secured(t, s, nil)
	chain, key := certificatetest.Make(t, 2, "localhost", "and-more")
	if err := os.WriteFile(filepath.Join(folder, "default.pem"), append(chain, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	for serial := int64(1); serial != 2; {
		c, err := secureDial(t, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		state, _ := c.ConnectionState()
		shown, err := x509.ParseCertificate(state.PeerCertificates[0])
		if err != nil {
			t.Fatal(err)
		}
		serial = shown.SerialNumber.Int64()
		_ = c.Close() // another is made
		time.Sleep(50 * time.Millisecond)
	}
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Errorf("%s", m.Code)
	}
}

// TestConnectionsAreBounded: at the bound, who is there stays.
func TestConnectionsAreBounded(t *testing.T) {
	s := newScene(t, securely(t, func(c *Config) { c.DTLSSessions = 1 }))
	p := secured(t, s, nil)
	// The client may be done with the handshake before the server is; after an answer both are.
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Fatalf("%s", m.Code)
	}
	second, err := secureDial(t, s, nil)
	if err == nil { // the client may have thought so
		if err = second.SetReadDeadline(time.Now().Add(20 * time.Second)); err == nil {
			_, err = second.Read(make([]byte, 100))
		}
	}
	if err == nil {
		t.Error("there was room for two")
	}
	if m := p.ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Errorf("%s", m.Code)
	}
}

// TestConnectionBegunAnew: a client that lost its state begins again from the same address.
func TestConnectionBegunAnew(t *testing.T) {
	s := newScene(t, securely(t, nil))
	over := newMovable(t)
	port := over.LocalAddr().(*net.UDPAddr).Port
	if m := secured(t, s, over).ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Fatalf("%s", m.Code)
	}
	_ = over.Close() // without a word
	again, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	if m := secured(t, s, again).ask(t, telemetryTo("api", "v1", "T", "telemetry")); m.Code != packet.Created {
		t.Errorf("%s", m.Code)
	}
}

func TestSuitesThatOnlyEncryptAreRefused(t *testing.T) {
	s := newScene(t, securely(t, nil))
	if _, err := secureDial(t, s, nil, dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA)); err == nil {
		t.Error("accepted")
	}
}
