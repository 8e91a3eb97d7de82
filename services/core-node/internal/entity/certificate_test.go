package entity_test

import (
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// leafPEM is a self-signed certificate of the name leaf.
const leafPEM = `-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUBeRGbkONWcxS/FO1lqSAP5kfN3swCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEbGVhZjAgFw0yNjExMjYyMTEzNDJaGA8yMTI2MTEwMjIxMTM0
MlowDzENMAsGA1UEAwwEbGVhZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABP3j
iEtp7sCs+rjAeM56Gz53vhMZrVTDGAJ2kox2kFDpmmue51SHRN3iZa8NrJShXdyp
/fODcwM6uS5WNTenFZWjUzBRMB0GA1UdDgQWBBTRg7iIoxAk6ic1dvOoKNqqV1xM
DjAfBgNVHSMEGDAWgBTRg7iIoxAk6ic1dvOoKNqqV1xMDjAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQCFKGA0VaDkW8+zVO+UOSOtyxX9iTwfEUng
mTqVgz5bRgIgE5Z9ouiaYMDxuZB615ek1KfmFdt0Y66LvDsNKzLrGIM=
-----END CERTIFICATE-----`

func leafDER(t *testing.T) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(leafPEM))
	if block == nil {
		t.Fatal("no certificate")
	}
	return block.Bytes
}

func leafID(t *testing.T) string {
	t.Helper()
	return entity.CertificateID(leafDER(t))
}

// TestCertificateCredentials: however the text is written, what is kept and looked up is one; sessions of both certificates hear of a
// change.
func TestCertificateCredentials(t *testing.T) {
	p := start(t)
	bare := base64.StdEncoding.EncodeToString(leafDER(t))
	d := p.newDevice(t, entity.Device{Name: "d"})
	token, err := p.Devices.Credentials(t.Context(), p.tenant, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.take()
	for name, text := range map[string]string{
		"armoured": leafPEM, "bare": bare, "with Windows' newlines": strings.ReplaceAll(leafPEM, "\n", "\r\n"), "with another behind it": leafPEM + leafPEM,
	} {
		saved, err := p.Devices.UpdateCredentials(t.Context(), entity.Credentials{
			Tenant: p.tenant, Device: d.ID, Type: entity.X509Certificate, CredentialsID: "ignored", CredentialsValue: text,
		})
		if err != nil || saved.CredentialsID != leafID(t) || saved.CredentialsValue != bare {
			t.Errorf("%s: saved %+v, %v", name, saved, err)
		}
	}
	if found, err := p.Devices.CredentialsByID(t.Context(), leafID(t)); err != nil || found.Device != d.ID {
		t.Errorf("found %+v, %v", found, err)
	}
	changed := p.take()
	if len(changed) != 1 || !slices.Equal(changed[0].GetCredentialsIds(), []string{token.CredentialsID, leafID(t)}) || !changed[0].GetCredentialsChanged() {
		t.Errorf("announced %v", changed)
	}
	_, err = p.Devices.Create(t.Context(), entity.Device{Tenant: p.newTenant(t, "Other"), Name: "x"}, &entity.Credentials{Type: entity.X509Certificate, CredentialsValue: bare})
	if refused(t, err, fault.Invalid, nil); message(err) != "Device credentials are already assigned to another device!" {
		t.Errorf("a certificate in use: %v", err)
	}
	p.take()
	if err := p.Devices.Delete(t.Context(), p.tenant, d.ID); err != nil {
		t.Fatal(err)
	}
	if gone := p.take(); len(gone) != 1 || !gone[0].GetDeleted() || !slices.Equal(gone[0].GetCredentialsIds(), []string{leafID(t)}) {
		t.Errorf("announced %v", gone)
	}
}

func TestCertificateRefused(t *testing.T) {
	p := start(t)
	for name, text := range map[string]string{
		"nothing": "", "a token": "TOKEN", "half": base64.StdEncoding.EncodeToString(leafDER(t)[:100]),
		"more behind it": base64.StdEncoding.EncodeToString(append(leafDER(t), 0)), "long": strings.Repeat("A", 16<<10+4),
	} {
		_, err := p.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: name}, &entity.Credentials{Type: entity.X509Certificate, CredentialsValue: text})
		refused(t, err, fault.Invalid, nil)
		if message(err) != "credentialsValue: is not an X.509 certificate" {
			t.Errorf("%s: message is %q", name, message(err))
		}
	}
	_, err := p.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: "lwm2m"}, &entity.Credentials{Type: "LWM2M_CREDENTIALS", CredentialsID: "e"})
	refused(t, err, fault.Invalid, nil)
}
