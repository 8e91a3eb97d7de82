package entity

import (
	"context"
	"crypto/rand"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

const (
	tokenLength     = 20   // of an access token made here
	maxCredentials  = 255  // characters of a credentials id
	maxBasicSection = 4096 // bytes of a credentials value
)

// NewToken returns an access token that cannot be guessed.
func NewToken() string { return randomText(tokenLength) }

// BasicValue is the CredentialsValue of MQTT_BASIC. An empty field is not checked.
type BasicValue struct {
	ClientID string `json:"clientId"`
	UserName string `json:"userName"`
	Password string `json:"password"`
}

// ClientUserID returns the credentials id of MQTT_BASIC credentials with this client id and user
// name (device-api §1.2): the name itself without a client id, else the SHA3-256 of what there is.
func ClientUserID(clientID, userName string) string {
	switch {
	case clientID == "":
		return userName
	case userName == "":
		return digest(clientID)
	}
	return digest(clientID + "|" + userName)
}

func digest(text string) string {
	sum := sha3.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// complete validates c and derives its CredentialsID where the type says how.
func (c *Credentials) complete() error {
	switch c.Type {
	case AccessToken:
		c.CredentialsValue = ""
	case MQTTBasic:
		if err := c.completeBasic(); err != nil {
			return err
		}
	case X509Certificate:
		der, err := ParseCertificate(c.CredentialsValue)
		if err != nil {
			return fault.Wrap(fault.Invalid, "credentialsValue: is not an X.509 certificate", err)
		}
		c.CredentialsID, c.CredentialsValue = CertificateID(der), CertificateText(der)
	case "LWM2M_CREDENTIALS":
		return fault.New(fault.Invalid, "credentialsType: LWM2M_CREDENTIALS need the LwM2M transport, which this platform does not have")
	default:
		return fault.New(fault.Invalid, "Credentials type '"+string(c.Type)+"' is not supported!")
	}
	if c.CredentialsID == "" {
		return fault.New(fault.Invalid, "Device credentials id should be specified!")
	}
	if len([]rune(c.CredentialsID)) > maxCredentials {
		return fault.New(fault.Invalid, "credentialsId length must be equal or less than 255")
	}
	if strings.ContainsFunc(c.CredentialsID, unicode.IsControl) {
		return fault.New(fault.Invalid, "credentialsId contains a control character")
	}
	return nil
}

func (c *Credentials) completeBasic() error {
	var v BasicValue
	if len(c.CredentialsValue) > maxBasicSection {
		return fault.New(fault.Invalid, "credentialsValue is too long")
	}
	if err := json.Unmarshal([]byte(c.CredentialsValue), &v); err != nil {
		return fault.New(fault.Invalid, "Invalid credentials body for simple mqtt credentials!")
	}
	switch {
	case v.ClientID == "" && v.UserName == "":
		return fault.New(fault.Invalid, "Both mqtt client id and user name are empty!")
	case v.ClientID != "" && v.Password != "" && v.UserName == "":
		return fault.New(fault.Invalid, "Password cannot be specified along with client id!")
	}
	for _, field := range []string{v.ClientID, v.UserName, v.Password} {
		if strings.ContainsFunc(field, unicode.IsControl) {
			return fault.New(fault.Invalid, "credentialsValue contains a control character")
		}
	}
	c.CredentialsID = ClientUserID(v.ClientID, v.UserName)
	return nil
}

// CredentialsByID finds credentials by their CredentialsID, over all tenants.
func (r *DeviceRegistry) CredentialsByID(ctx context.Context, credentialsID string) (Credentials, error) {
	s, err := r.devices.byClaim(ctx, credentialsClaim(credentialsID))
	return s.Credentials, err
}

// Credentials returns what a device proves itself with.
func (r *DeviceRegistry) Credentials(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (Credentials, error) {
	s, err := r.devices.get(ctx, tenant, id.ID)
	return s.Credentials, err
}

// UpdateCredentials replaces a device's credentials and has its sessions closed. Version 0
// overwrites. Saving what is there already changes nothing.
func (r *DeviceRegistry) UpdateCredentials(ctx context.Context, c Credentials) (Credentials, error) {
	if err := c.complete(); err != nil {
		return Credentials{}, err
	}
	s, err := r.devices.announceUpdate(ctx, c.Tenant, c.Device.ID, func(s *storedDevice) error {
		old := s.Credentials
		if old.Type == c.Type && old.CredentialsID == c.CredentialsID && old.CredentialsValue == c.CredentialsValue {
			return errUnchanged
		}
		c.ID, c.Version = old.ID, old.Version+1
		s.Credentials = c
		return nil
	}, func(s *storedDevice) bool { return c.Version == 0 || s.Credentials.Version == c.Version }, credentialsEvent)
	return s.Credentials, taken(err, credentialsTaken)
}

func credentialsEvent(before, after *storedDevice) *sluicepb.EntityEvent {
	return &sluicepb.EntityEvent{
		CredentialsChanged: true,
		CredentialsIds:     []string{before.Credentials.CredentialsID, after.Credentials.CredentialsID},
	}
}

const alphanumerics = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomText returns n characters that cannot be guessed.
func randomText(n int) string {
	text := make([]byte, 0, n)
	var source [64]byte
	for len(text) < n {
		rand.Read(source[:]) // never fails (crypto/rand)
		for _, b := range source {
			// Bytes past the last whole multiple are dropped: all characters stay equally likely.
			if int(b) < 256-256%len(alphanumerics) && len(text) < n {
				text = append(text, alphanumerics[int(b)%len(alphanumerics)])
			}
		}
	}
	return string(text)
}
