package calls

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Most certificates of a chain that are looked up, and most bytes each may have.
const (
	maxChain       = 10
	maxCertificate = 12 << 10
)

// certificate finds who holds the leaf of a chain, or takes the device on by a profile that names one of the chain's certificates
// (device-api §1.2).
func (c Calls) certificate(ctx context.Context, chain [][]byte) (entity.Credentials, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return entity.Credentials{}, unknown()
	}
	for _, der := range chain {
		if len(der) > maxCertificate {
			return entity.Credentials{}, unknown()
		}
	}
	found, err := c.find(ctx, entity.CertificateID(chain[0]))
	// Credentials hold for the leaf alone: whoever holds a device's key could sign others.
	if err == nil && found.Type == entity.X509Certificate && found.CredentialsValue == entity.CertificateText(chain[0]) {
		return found, nil
	}
	if err != nil && !errors.Is(err, errUnknown) {
		return found, err
	}
	for _, der := range chain {
		profile, err := c.Entities.DeviceProfiles.ByProvisionKey(ctx, entity.CertificateID(der))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return entity.Credentials{}, away("find the profile of a certificate", err)
		}
		by, err := profile.Provisioning()
		if err != nil {
			return entity.Credentials{}, err
		}
		if by.Strategy == entity.ProvisionByChain {
			return c.takeOn(ctx, profile, by, chain[0])
		}
	}
	return entity.Credentials{}, unknown()
}

// takeOn gives leaf to the device of the name that the profile finds in it: it replaces the certificate the device had, or comes
// with a new device where the profile allows that.
func (c Calls) takeOn(ctx context.Context, profile entity.Profile, by entity.Provisioning, leaf []byte) (entity.Credentials, error) {
	parsed, err := x509.ParseCertificate(leaf)
	if err != nil {
		return entity.Credentials{}, unknown()
	}
	name, err := by.NameOf(parsed.Subject.CommonName)
	if err != nil {
		return entity.Credentials{}, err
	}
	if name == "" {
		return entity.Credentials{}, unknown()
	}
	credentials := entity.Credentials{Tenant: profile.Tenant, Type: entity.X509Certificate, CredentialsValue: entity.CertificateText(leaf)}
	device, err := c.Entities.Devices.ByName(ctx, profile.Tenant, name)
	if errors.Is(err, storage.ErrNotFound) && by.AllowCreate {
		device, err = c.Entities.Devices.Create(ctx, entity.Device{Tenant: profile.Tenant, Name: name, Profile: profile.ID}, &credentials)
		switch {
		case err == nil:
			return c.find(ctx, entity.CertificateID(leaf))
		case errors.Is(err, storage.ErrTaken): // somebody else was faster
			device, err = c.Entities.Devices.ByName(ctx, profile.Tenant, name)
		}
	}
	if errors.Is(err, storage.ErrNotFound) {
		return entity.Credentials{}, unknown()
	}
	if err != nil {
		return entity.Credentials{}, kinded(err, "take a device on")
	}
	if device.Profile != profile.ID {
		return entity.Credentials{}, unknown()
	}
	had, err := c.Entities.Devices.Credentials(ctx, profile.Tenant, device.ID)
	if err != nil || had.Type != entity.X509Certificate {
		return entity.Credentials{}, orUnknown(err)
	}
	credentials.Device, credentials.Version = device.ID, had.Version
	replaced, err := c.Entities.Devices.UpdateCredentials(ctx, credentials)
	if err != nil {
		return entity.Credentials{}, kinded(err, "replace a certificate")
	}
	return replaced, nil
}

// orUnknown is err of the store, or that nobody has these credentials.
func orUnknown(err error) error {
	if err == nil || errors.Is(err, storage.ErrNotFound) {
		return unknown()
	}
	return away("read credentials", err)
}

// kinded keeps the kind of an error that has one, and gives others the one transports answer with "later".
func kinded(err error, doing string) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	return away(doing, err)
}
