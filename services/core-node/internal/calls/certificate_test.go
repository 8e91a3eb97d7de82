package calls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// signer is a certificate with its key.
type signer struct {
	der []byte
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// certificate makes one for a common name, signed by the issuer or, without one, by itself.
func certificate(t *testing.T, name string, issuer *signer) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	by := &signer{Certificate: made, key: key}
	if issuer != nil {
		by = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, made, by.Certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{der, made, key}
}

func (s *signer) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.der}))
}

func (s *signer) credentials() *entity.Credentials {
	return &entity.Credentials{Type: entity.X509Certificate, CredentialsValue: s.pem()}
}

func validate(chain ...*signer) *sluicepb.TransportRequest {
	q := &sluicepb.ValidateCertificate{}
	for _, s := range chain {
		q.Chain = append(q.Chain, s.der)
	}
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateCertificate{ValidateCertificate: q}}
}

// chainProfile takes devices on that ca signed.
func (p *platform) chainProfile(t *testing.T, name string, ca *signer, pattern string, create bool) entity.Profile {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"provisionType": entity.ProvisionByChain,
		"profileData": map[string]any{"provisionConfiguration": map[string]any{
			"type": entity.ProvisionByChain, "provisionDeviceSecret": ca.pem(), "certificateRegExPattern": pattern,
			"allowCreateNewDevicesByX509Certificate": create,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p.profile(t, entity.Profile{Name: name, Body: body})
}

func unknownAnswer(a *sluicepb.TransportAnswer) bool {
	return fault.Kind(a.GetFault().GetKind()) == fault.Unauthenticated && a.GetDevice() == nil
}

func TestCertificates(t *testing.T) {
	p := start(t)
	registered, stranger := certificate(t, "registered", nil), certificate(t, "stranger", nil)
	owner := p.device(t, entity.Device{}, registered.credentials())
	signed := certificate(t, "signed", registered) // by a device's key
	tokenOf := certificate(t, "token", nil)
	p.device(t, entity.Device{}, withToken(entity.CertificateID(tokenOf.der)))
	t.Run("M13 a registered certificate", func(t *testing.T) {
		if got := p.ask(t, validate(registered)); ident.ID(got.GetDevice().GetDeviceId()) != owner.ID.ID {
			t.Errorf("answered %v", got)
		}
	})
	for name, chain := range map[string][]*signer{
		"M14 an unregistered certificate":                    {stranger},
		"a registered one that signed the leaf":              {signed, registered},
		"one whose hash is a token":                          {tokenOf},
		"no certificate":                                     nil,
		"more than are looked up, though the first is known": {registered, registered, registered, registered, registered, registered, registered, registered, registered, registered, registered},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.ask(t, validate(chain...)); !unknownAnswer(got) {
				t.Errorf("answered %v", got)
			}
		})
	}
}

func TestM17CertificateChains(t *testing.T) {
	p := start(t)
	root := certificate(t, "root", nil)
	middle := certificate(t, "middle", root)
	closed := certificate(t, "closed", nil)
	open := p.chainProfile(t, "open", middle, `^([a-z]+-[0-9]+)`, true)
	p.chainProfile(t, "closed", closed, `(.*)`, false)
	of := func(t *testing.T, a *sluicepb.TransportAnswer, name string) entity.Device {
		t.Helper()
		d, err := p.Devices.ByName(t.Context(), p.tenant, name)
		if err != nil || a.GetDevice().GetDeviceName() != name || ident.ID(a.GetDevice().GetDeviceId()) != d.ID.ID {
			t.Fatalf("answered %v; device %q is %v, %v", a, name, d.ID, err)
		}
		return d
	}
	leaf := certificate(t, "dev-7.example", middle)
	t.Run("M17 a device is made", func(t *testing.T) {
		d := of(t, p.ask(t, validate(leaf, middle, root)), "dev-7")
		if d.Profile != open.ID || d.Tenant != p.tenant {
			t.Errorf("made %+v", d)
		}
		again := of(t, p.ask(t, validate(leaf, middle)), "dev-7")
		if again.ID != d.ID || again.Version != d.Version {
			t.Errorf("the second time it is %+v", again)
		}
	})
	t.Run("a new leaf replaces the old one", func(t *testing.T) {
		before, err := p.Devices.ByName(t.Context(), p.tenant, "dev-7")
		if err != nil {
			t.Fatal(err)
		}
		renewed := certificate(t, "dev-7.example", middle)
		p.recorder.mu.Lock()
		p.events = nil
		p.recorder.mu.Unlock()
		if d := of(t, p.ask(t, validate(renewed, middle)), "dev-7"); d.ID != before.ID {
			t.Errorf("another device: %v", d.ID)
		}
		p.recorder.mu.Lock()
		defer p.recorder.mu.Unlock()
		if len(p.events) != 1 || !p.events[0].GetCredentialsChanged() || p.events[0].GetCredentialsIds()[0] != entity.CertificateID(leaf.der) {
			t.Errorf("announced %v", p.events)
		}
	})
	p.device(t, entity.Device{Name: "dev-8"}, certificate(t, "other", nil).credentials())
	p.device(t, entity.Device{Name: "dev-9", Profile: open.ID}, withToken("dev-9"))
	for name, chain := range map[string][]*signer{
		"a name of another profile's device":     {certificate(t, "dev-8", middle), middle},
		"a device with a token":                  {certificate(t, "dev-9", middle), middle},
		"a name the pattern does not find":       {certificate(t, "DEV", middle), middle},
		"a profile that makes none":              {certificate(t, "dev-10", closed), closed},
		"a chain that no profile names":          {certificate(t, "dev-11", root), root},
		"no common name":                         {certificate(t, "", middle), middle},
		"a leaf that is no certificate in a way": {{der: []byte("nonsense")}, middle},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.ask(t, validate(chain...)); !unknownAnswer(got) {
				t.Errorf("answered %v", got)
			}
		})
	}
	for _, name := range []string{"dev-10", "dev-11"} {
		if _, err := p.Devices.ByName(t.Context(), p.tenant, name); err == nil {
			t.Errorf("device %s was made", name)
		}
	}
}

// TestOneOfManyAtOnce: a device that opens several connections at once before it is there is made once.
func TestOneOfManyAtOnce(t *testing.T) {
	p := start(t)
	ca := certificate(t, "ca", nil)
	p.chainProfile(t, "open", ca, `(.*)`, true)
	leaf := certificate(t, "dev", ca)
	answers := make(chan *sluicepb.TransportAnswer, 8)
	for range cap(answers) {
		go func() { answers <- p.ask(t, validate(leaf, ca)) }()
	}
	for range cap(answers) {
		if got := <-answers; got.GetDevice().GetDeviceName() != "dev" {
			t.Errorf("answered %v", got)
		}
	}
}
