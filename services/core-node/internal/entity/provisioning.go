package entity

import (
	"context"
	"encoding/json"
	"regexp"

	"github.com/sluice-iot/sluice/proto/fault"
)

// Strategies by which a profile takes on devices that ask for credentials (device-api §1.11).
const (
	ProvisionDisabled   = "DISABLED"
	ProvisionNew        = "ALLOW_CREATE_NEW_DEVICES"
	ProvisionListed     = "CHECK_PRE_PROVISIONED_DEVICES"
	ProvisionByChain    = "X509_CERTIFICATE_CHAIN"
	maxProvisionSecret  = maxCertificate
	maxNamePattern      = 1024
	provisionConfigured = "profileData.provisionConfiguration."
)

// Provisioning is how a profile takes on devices that have no credentials yet.
type Provisioning struct {
	Strategy string // one of the above
	Key      string // "" is none
	Secret   string // of ProvisionByChain the text of the certificate that devices' are signed with
	// Of ProvisionByChain: the first group found in a leaf's common name is the device's name; whether devices are made.
	NamePattern string
	AllowCreate bool
}

// Provisioning reads p's provisioning; what is not there is disabled.
func (p Profile) Provisioning() (Provisioning, error) {
	var body struct {
		ProvisionType      string `json:"provisionType"`
		ProvisionDeviceKey string `json:"provisionDeviceKey"`
		ProfileData        struct {
			Configuration struct {
				Type        string `json:"type"`
				Secret      string `json:"provisionDeviceSecret"`
				NamePattern string `json:"certificateRegExPattern"`
				AllowCreate bool   `json:"allowCreateNewDevicesByX509Certificate"`
			} `json:"provisionConfiguration"`
		} `json:"profileData"`
	}
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return Provisioning{}, fault.Wrap(fault.Invalid, "Device profile is not valid", err)
	}
	c := body.ProfileData.Configuration
	strategy := body.ProvisionType
	if strategy == "" {
		strategy = ProvisionDisabled
	}
	return Provisioning{
		Strategy: strategy, Key: body.ProvisionDeviceKey, Secret: c.Secret, NamePattern: c.NamePattern, AllowCreate: c.AllowCreate,
	}, nil
}

// NameOf returns what the pattern finds in a leaf's common name; "" when it finds nothing.
func (p Provisioning) NameOf(commonName string) (string, error) {
	pattern, err := regexp.Compile(p.NamePattern)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, provisionConfigured+"certificateRegExPattern: "+err.Error(), err)
	}
	if found := pattern.FindStringSubmatch(commonName); len(found) > 1 {
		return found[1], nil
	}
	return "", nil
}

// checkProvisioning validates how p provisions; with a certificate its key becomes the certificate's id.
func checkProvisioning(p *Profile) error {
	c, err := p.Provisioning()
	if err != nil {
		return err
	}
	if len([]rune(c.Key)) > maxName {
		return fault.New(fault.Invalid, "provisionDeviceKey length must be equal or less than 255")
	}
	if len(c.Secret) > maxProvisionSecret {
		return fault.New(fault.Invalid, provisionConfigured+"provisionDeviceSecret: is longer than 16 KiB")
	}
	switch c.Strategy {
	case ProvisionDisabled:
		return nil
	case ProvisionNew, ProvisionListed:
		if c.Key == "" {
			return fault.New(fault.Invalid, "provisionDeviceKey: should be specified!")
		}
		if c.Secret == "" {
			return fault.New(fault.Invalid, provisionConfigured+"provisionDeviceSecret: should be specified!")
		}
		return nil
	case ProvisionByChain:
		return checkChainProvisioning(p, c)
	}
	return fault.New(fault.Invalid, "provisionType: '"+c.Strategy+"' is unknown")
}

func checkChainProvisioning(p *Profile, c Provisioning) error {
	der, err := ParseCertificate(c.Secret)
	if err != nil {
		return fault.Wrap(fault.Invalid, provisionConfigured+"provisionDeviceSecret: is not an X.509 certificate", err)
	}
	if len(c.NamePattern) > maxNamePattern {
		return fault.New(fault.Invalid, provisionConfigured+"certificateRegExPattern: is longer than 1024 bytes")
	}
	pattern, err := regexp.Compile(c.NamePattern)
	if err != nil {
		return fault.Wrap(fault.Invalid, provisionConfigured+"certificateRegExPattern: "+err.Error(), err)
	}
	if pattern.NumSubexp() == 0 {
		return fault.New(fault.Invalid, provisionConfigured+"certificateRegExPattern: has no group: its first one finds the device's name")
	}
	return p.setProvisionKey(CertificateID(der))
}

// setProvisionKey changes the key in the body, the rest of which stays as it was sent.
func (p *Profile) setProvisionKey(key string) error {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return fault.Wrap(fault.Invalid, "Device profile is not valid", err)
	}
	text, err := json.Marshal(key)
	if err != nil {
		return err
	}
	body["provisionDeviceKey"] = text
	p.Body, err = json.Marshal(body)
	return err
}

// ByProvisionKey finds the profile of any tenant that takes devices on by this key.
func (r *DeviceProfileRegistry) ByProvisionKey(ctx context.Context, key string) (Profile, error) {
	return r.profiles.byClaim(ctx, provisionClaim(key))
}

func provisionClaim(key string) string { return "provision-key/" + key }
