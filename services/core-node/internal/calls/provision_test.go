package calls_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// provisioning makes a profile of that strategy, whose key and secret are key and secret.
func (p *platform) provisioning(t *testing.T, key, strategy, secret string) entity.Profile {
	t.Helper()
	return p.profile(t, entity.Profile{Name: key, Body: json.RawMessage(
		`{"provisionType":"` + strategy + `","provisionDeviceKey":"` + key + `","profileData":{"provisionConfiguration":{"type":"` + strategy + `","provisionDeviceSecret":"` + secret + `"}}}`)})
}

func (p *platform) provision(t *testing.T, key, secret, name string, change ...func(*sluicepb.ProvisionDevice)) *sluicepb.Provisioned {
	t.Helper()
	q := &sluicepb.ProvisionDevice{ProvisionKey: key, ProvisionSecret: secret, DeviceName: name, HasDeviceName: name != ""}
	for _, f := range change {
		f(q)
	}
	answered := p.ask(t, &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ProvisionDevice{ProvisionDevice: q}})
	if answered.GetFault() != nil {
		t.Fatalf("answered %v", answered)
	}
	return answered.GetProvisioned()
}

func (p *platform) state(t *testing.T, name string) string {
	t.Helper()
	d, err := p.Devices.ByName(t.Context(), p.tenant, name)
	if err != nil {
		t.Fatal(err)
	}
	found, err := p.store.Attributes(t.Context(), d.ID.Entity(), storage.Server, []string{"provisionState"})
	if err != nil || len(found) != 1 {
		return ""
	}
	return found[0].Text()
}

func TestM73Provisioning(t *testing.T) {
	p := start(t)
	profile := p.provisioning(t, "open", "ALLOW_CREATE_NEW_DEVICES", "s")
	p.provisioning(t, "off", "DISABLED", "s")
	ca := certificate(t, "ca", nil)
	p.chainProfile(t, "chain", ca, "(.*)", true)
	t.Run("M73 a token", func(t *testing.T) {
		got := p.provision(t, "open", "s", " new ")
		if got.GetStatus() != "SUCCESS" || got.GetCredentialsType() != "ACCESS_TOKEN" || !regexp.MustCompile(`^[A-Za-z0-9]{20}$`).MatchString(got.GetCredentialsValue()) {
			t.Fatalf("answered %v", got)
		}
		d := p.ask(t, token(got.GetCredentialsValue())).GetDevice()
		if d.GetDeviceName() != "new" || ident.ID(d.GetDeviceProfileId()) != profile.ID || d.GetGateway() || p.state(t, "new") != "provisioned" {
			t.Errorf("the token is %v's; state %q", d, p.state(t, "new"))
		}
		told := p.told("PROVISION_SUCCESS")
		if len(told) != 1 || told[0].Originator.ID != ident.ID(d.GetDeviceId()) || told[0].Data != `{"credentialsType":"ACCESS_TOKEN","deviceName":"new","gateway":false,"provisionDeviceKey":"open"}` {
			t.Errorf("told %+v", told)
		}
	})
	for name, c := range map[string]struct {
		key, secret, name string
		change            func(*sluicepb.ProvisionDevice)
		want              string
	}{
		"M74 the same name again":        {"open", "s", "new", nil, "FAILURE"},
		"M74 a wrong secret":             {"open", "x", "new2", nil, "NOT_FOUND"},
		"an unknown key":                 {"none", "s", "new2", nil, "NOT_FOUND"},
		"no key":                         {"", "s", "new2", nil, "NOT_FOUND"},
		"no secret":                      {"open", "", "new2", nil, "NOT_FOUND"},
		"a profile that takes none":      {"off", "s", "new2", nil, "NOT_FOUND"},
		"by a chain, the certificate":    {entity.CertificateID(ca.der), ca.pem(), "new2", nil, "FAILURE"},
		"a blank name":                   {"open", "s", "  ", nil, "FAILURE"},
		"a name that cannot be":          {"open", "s", "a\x01", nil, "FAILURE"},
		"a token in use":                 {"open", "s", "new2", func(q *sluicepb.ProvisionDevice) { q.Token = "USED" }, "FAILURE"},
		"MQTT_BASIC without anything":    {"open", "s", "new2", func(q *sluicepb.ProvisionDevice) { q.CredentialsType = "MQTT_BASIC" }, "FAILURE"},
		"X509_CERTIFICATE without one":   {"open", "s", "new2", func(q *sluicepb.ProvisionDevice) { q.CredentialsType = "X509_CERTIFICATE" }, "FAILURE"},
		"credentials of another kind":    {"open", "s", "new2", func(q *sluicepb.ProvisionDevice) { q.CredentialsType = "LWM2M_CREDENTIALS" }, "FAILURE"},
		"H17, C11: another secret still": {"open", "s ", "new2", nil, "NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a token in use" {
				p.device(t, entity.Device{}, withToken("USED"))
			}
			change := c.change
			if change == nil {
				change = func(*sluicepb.ProvisionDevice) {}
			}
			got := p.provision(t, c.key, c.secret, c.name, change)
			if got.GetStatus() != c.want || got.GetError() == "" || got.GetCredentialsValue() != "" {
				t.Errorf("answered %v", got)
			}
		})
	}
	if _, err := p.Devices.ByName(t.Context(), p.tenant, "new2"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a refused device is there: %v", err)
	}
	if told := p.told("PROVISION_FAILURE"); len(told) != 1 {
		t.Errorf("told %+v", told)
	}
}

func TestM76CredentialsDevicesBring(t *testing.T) {
	p := start(t)
	p.provisioning(t, "open", "ALLOW_CREATE_NEW_DEVICES", "s")
	t.Run("a token", func(t *testing.T) {
		got := p.provision(t, "open", "s", "t", func(q *sluicepb.ProvisionDevice) { q.Token, q.Gateway = "MINE", true })
		if got.GetCredentialsValue() != "MINE" || !p.ask(t, token("MINE")).GetDevice().GetGateway() {
			t.Errorf("answered %v", got)
		}
	})
	t.Run("M76 MQTT_BASIC", func(t *testing.T) {
		got := p.provision(t, "open", "s", "b", func(q *sluicepb.ProvisionDevice) {
			q.CredentialsType, q.ClientId, q.Username, q.Password = "MQTT_BASIC", "c", "u", "p"
		})
		if got.GetCredentialsType() != "MQTT_BASIC" || got.GetCredentialsValue() != `{"clientId":"c","userName":"u","password":"p"}` {
			t.Errorf("answered %v", got)
		}
		if d := p.ask(t, basic("c", "u", "p")).GetDevice(); d.GetDeviceName() != "b" {
			t.Errorf("they are %v's", d)
		}
	})
	t.Run("X509_CERTIFICATE", func(t *testing.T) {
		own := certificate(t, "own", nil)
		got := p.provision(t, "open", "s", "x", func(q *sluicepb.ProvisionDevice) {
			q.CredentialsType, q.Certificate = "X509_CERTIFICATE", own.pem()
		})
		if got.GetCredentialsType() != "X509_CERTIFICATE" || got.GetCredentialsValue() != entity.CertificateText(own.der) {
			t.Errorf("answered %v", got)
		}
		if d := p.ask(t, validate(own)).GetDevice(); d.GetDeviceName() != "x" {
			t.Errorf("it is %v's", d)
		}
	})
	t.Run("no name", func(t *testing.T) {
		got := p.provision(t, "open", "s", "")
		if d := p.ask(t, token(got.GetCredentialsValue())).GetDevice(); len(d.GetDeviceName()) != 20 {
			t.Errorf("answered %v: device %v", got, d)
		}
	})
}

func TestM75PreProvisioned(t *testing.T) {
	p := start(t)
	profile := p.provisioning(t, "listed", "CHECK_PRE_PROVISIONED_DEVICES", "s")
	p.device(t, entity.Device{Name: "listed", Profile: profile.ID}, withToken("LISTED"))
	p.device(t, entity.Device{Name: "brings", Profile: profile.ID}, nil)
	p.device(t, entity.Device{Name: "another"}, nil)
	answers := make(chan string, 6)
	for range cap(answers) {
		go func() { answers <- p.provision(t, "listed", "s", "listed").GetStatus() }()
	}
	granted := 0
	for range cap(answers) {
		if <-answers == "SUCCESS" {
			granted++
		}
	}
	if granted != 1 || p.state(t, "listed") != "provisioned" {
		t.Errorf("granted %d times of %d at once; state %q", granted, cap(answers), p.state(t, "listed"))
	}
	for name, want := range map[string]string{"listed": "FAILURE", "unknown": "FAILURE", "another": "FAILURE", "": "FAILURE", "brings": "SUCCESS"} {
		got := p.provision(t, "listed", "s", name, func(q *sluicepb.ProvisionDevice) { q.Token = "BROUGHT" })
		if got.GetStatus() != want {
			t.Errorf("%q: answered %v", name, got)
		}
	}
	if d := p.ask(t, token("BROUGHT")).GetDevice(); d.GetDeviceName() != "brings" {
		t.Errorf("the token it brought is %v's", d)
	}
	if d := p.ask(t, token("LISTED")).GetDevice(); d.GetDeviceName() != "listed" {
		t.Errorf("the token it had is %v's", d)
	}
}

// TestProvisioningThePlatformCannot: what the platform cannot do now is its fault, and may be asked for again.
func TestProvisioningThePlatformCannot(t *testing.T) {
	p := start(t)
	p.provisioning(t, "open", "ALLOW_CREATE_NEW_DEVICES", "s")
	q := &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ProvisionDevice{ProvisionDevice: &sluicepb.ProvisionDevice{
		ProvisionKey: "open", ProvisionSecret: "s", DeviceName: "d", HasDeviceName: true,
	}}}
	p.recorder.away.Store(true)
	if got := p.ask(t, q); fault.Kind(got.GetFault().GetKind()) != fault.Unavailable {
		t.Errorf("while its state cannot be saved it is answered %v", got)
	}
	p.recorder.away.Store(false)
	if got := p.ask(t, q).GetProvisioned(); got.GetStatus() != "SUCCESS" {
		t.Errorf("asked again it is answered %v", got)
	}
}
