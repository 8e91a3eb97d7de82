package mqtttransport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// identity is a certificate and its key.
type identity struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newIdentity makes a client's certificate, changed by change (may be nil), signed by issuer (nil: by itself).
func newIdentity(t *testing.T, name string, issuer *identity, change func(*x509.Certificate)) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return identity{certificate, key}
}

// present connects under TLS showing a chain, the first of which is the client's own.
func present(t *testing.T, r *rig, version byte, username string, chain ...identity) (c *client, code byte) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if len(chain) > 0 {
		shown := tls.Certificate{PrivateKey: chain[0].key}
		for _, one := range chain {
			shown.Certificate = append(shown.Certificate, one.certificate.Raw)
		}
		config.Certificates = []tls.Certificate{shown}
	}
	conn, err := tls.Dial("tcp", r.service.TLSAddr(), config)
	if err != nil {
		t.Fatal(err)
	}
	c = newClient(t, conn, version)
	return c, c.connect(hello("any", username, "-"))
}

// addCertificate adds a device known by a certificate.
func (r *rig) addCertificate(one identity) *transporttest.Device {
	d := &transporttest.Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()}, Name: one.certificate.Subject.CommonName,
		Type: "default", TransportType: "DEFAULT", Certificate: one.certificate.Raw,
	}
	r.Core.Add(d)
	return d
}

// TestM13ClientCertificates: a client's certificate says who it is, whoever signed it, and goes before its user name.
func TestM13ClientCertificates(t *testing.T) {
	r, _ := startTLS(t, nil)
	r.Core.AddDevice("T")
	authority := newIdentity(t, "authority", nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	leaf := func(change func(*x509.Certificate)) identity { return newIdentity(t, "leaf", nil, change) }
	own, signed, stranger := leaf(nil), newIdentity(t, "signed", &authority, nil), leaf(nil)
	forClients := leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	expired := leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	forServers := leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	byDevice := newIdentity(t, "signed by a device", &own, nil)
	for _, one := range []identity{own, signed, forClients, expired, early, forServers, byDevice} {
		r.addCertificate(one)
	}
	for _, row := range []struct {
		name     string
		username string
		chain    []identity
		accepted bool
	}{
		{"M13 registered", "-", []identity{own}, true},
		{"M13 registered, with its authority", "wrong", []identity{signed, authority}, true},
		{"M13 for clients", "-", []identity{forClients}, true},
		{"M14 unregistered", "T", []identity{stranger}, false},
		{"M15 none", "T", nil, true},
		{"M16 expired", "T", []identity{expired}, false},
		{"M16 not yet valid", "T", []identity{early}, false},
		{"M16 for servers", "T", []identity{forServers}, false},
		{"chain that is none", "T", []identity{own, authority}, false},
		{"signed by what is no authority", "T", []identity{byDevice, own}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			for version, refused := range map[byte]byte{v311: 5, v5: 0x87} {
				c, code := present(t, r, version, row.username, row.chain...)
				if row.accepted {
					if code != 0 {
						t.Errorf("version %d: CONNACK %#x", version, code)
						continue
					}
					c.acknowledged(telemetryTopic, `{"t":1}`)
				} else if code != refused {
					t.Errorf("version %d: CONNACK %#x, want %#x", version, code, refused)
				}
			}
		})
	}
}

// TestM19CertificateRevoked: when a certificate is not the device's any more, its session ends and it is refused from then on.
func TestM19CertificateRevoked(t *testing.T) {
	r, _ := startTLS(t, nil)
	own := newIdentity(t, "own", nil, nil)
	d := r.addCertificate(own)
	c, code := present(t, r, v5, "-", own)
	if code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	r.Core.Remove(d)
	r.Changed(t, d, false, true)
	c.expectRefusal(0x98)
	if _, code := present(t, r, v5, "-", own); code != 0x87 {
		t.Errorf("CONNACK %#x of a certificate that was revoked", code)
	}
}

// TestTLSAtLeast12: older protocols are not spoken, nor 1.2 without authenticated encryption.
func TestTLSAtLeast12(t *testing.T) {
	r, _ := startTLS(t, nil)
	for name, config := range map[string]*tls.Config{
		"1.1":          {MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		"1.2 with CBC": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
	} {
		config.InsecureSkipVerify = true
		if conn, err := tls.Dial("tcp", r.service.TLSAddr(), config); err == nil {
			conn.Close()
			t.Errorf("%s is spoken", name)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", r.service.TLSAddr(), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if err != nil {
			t.Errorf("%x: %v", version, err)
			continue
		}
		conn.Close()
	}
}
