// Package claim keeps which devices people may take over, with which secret, until when. A device offers itself; the offer is kept
// until somebody claims the device, the time is over, or too many have tried wrong secrets.
package claim

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Settings are what operators set of claiming.
type Settings struct {
	ByDefault bool          `name:"core-claiming-by-default" help:"Devices may be claimed without the server attribute claimingAllowed." default:"true"`
	Duration  time.Duration `name:"core-claiming-duration" help:"How long a device may be claimed that says nothing of it." default:"24h"`
	Longest   time.Duration `name:"core-claiming-longest" help:"Longest time a device may ask to be claimed within." default:"8760h"`
	Tries     int           `name:"core-claiming-tries" help:"How many wrong secrets end an offer; the device may make another." default:"10"`
}

// DefaultSettings are the settings nobody changed.
func DefaultSettings() Settings {
	return Settings{ByDefault: true, Duration: 24 * time.Hour, Longest: 365 * 24 * time.Hour, Tries: 10}
}

// Validate holds the settings to what they can be.
func (s Settings) Validate() error {
	if s.Duration <= 0 || s.Longest < s.Duration || s.Tries <= 0 {
		return errors.New("--core-claiming-…: times and tries are positive, and core-claiming-longest is the longest")
	}
	return nil
}

// Attribute is the server attribute, true, that lets a device be claimed where that is not the default.
const Attribute = "claimingAllowed"

// maxSecret is how many bytes a secret may have.
const maxSecret = 1024

// ErrNone says that there is no offer of the device, or none that the secret fits.
var ErrNone = fault.New(fault.NotFound, "the device is not offered with this secret")

// Registry keeps offers. Safe for concurrent use.
type Registry struct {
	rows     storage.Rows
	settings Settings
	now      func() time.Time

	// trying keeps the attempts at one device apart, within this process.
	trying [64]sync.Mutex
}

// New returns the offers kept in rows; now nil is time.Now.
func New(rows storage.Rows, s Settings, now func() time.Time) *Registry {
	if now == nil {
		now = time.Now
	}
	return &Registry{rows: rows, settings: s, now: now}
}

// offer is the body of a device's only row.
type offer struct {
	Secret []byte `json:"secret"` // SHA-256 of device and secret
	Until  int64  `json:"until"`  // ms
	Tries  int    `json:"tries"`  // wrong ones
}

var rowKey = []byte("offer")

func group(tenant ident.TenantID, device ident.DeviceID) string {
	return "claim/" + tenant.String() + "/" + device.String()
}

func hash(device ident.DeviceID, secret string) []byte {
	sum := sha256.Sum256(append(device.ID[:], secret...))
	return sum[:]
}

// Allowed reports whether the device's own attribute, as it is stored, lets it be claimed.
func (r *Registry) Allowed(attribute []storage.Entry) bool {
	if r.settings.ByDefault {
		return true
	}
	return len(attribute) == 1 && attribute[0].Kind == telemetry.Bool && attribute[0].Bool()
}

// ByDefault reports whether devices may be claimed without an attribute.
func (r *Registry) ByDefault() bool { return r.settings.ByDefault }

// Offer lets the device be claimed with the secret for a time from at on; 0 and less is the setting's. An offer that stands is not
// replaced. Secrets that are too long are fault.Invalid.
func (r *Registry) Offer(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, secret string, at time.Time, lasts time.Duration) error {
	if len(secret) > maxSecret {
		return fault.New(fault.Invalid, "secretKey: is longer than 1024 bytes")
	}
	if lasts <= 0 {
		lasts = r.settings.Duration
	}
	now := r.now()
	if at.After(now) {
		at = now
	}
	until := at.Add(min(lasts, r.settings.Longest))
	if !until.After(now) {
		return nil
	}
	stands, err := r.read(ctx, tenant, device)
	if err != nil || stands != nil {
		return err
	}
	return r.write(ctx, tenant, device, offer{Secret: hash(device, secret), Until: until.UnixMilli()})
}

// read returns the device's offer; nil when there is none.
func (r *Registry) read(ctx context.Context, tenant ident.TenantID, device ident.DeviceID) (*offer, error) {
	for row, err := range r.rows.ScanRows(ctx, group(tenant, device), nil, nil, false) {
		if err != nil {
			return nil, fmt.Errorf("read the offer of a device: %w", err)
		}
		var o offer
		if err := json.Unmarshal(row.Body, &o); err != nil {
			return nil, fmt.Errorf("read the offer of a device: %w", err)
		}
		if o.Until <= r.now().UnixMilli() {
			return nil, nil //nolint:nilnil // none stands
		}
		return &o, nil
	}
	return nil, nil //nolint:nilnil // there is none
}

func (r *Registry) write(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, o offer) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	// A moment longer, so that rounding never ends an offer early: Until decides.
	ttl := time.UnixMilli(o.Until).Sub(r.now()) + time.Second
	if err := r.rows.ChangeRows(ctx, group(tenant, device), []storage.Row{{Key: rowKey, Body: body}}, nil, ttl); err != nil {
		return fmt.Errorf("keep the offer of a device: %w", err)
	}
	return nil
}

// Claim calls take when the secret is the offer's, and ends the offer when take did not fail. ErrNone: there is no offer, or the secret
// is wrong; after the setting's number of wrong ones the offer is over.
func (r *Registry) Claim(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, secret string, take func() error) error {
	lock := &r.trying[device.ID[len(device.ID)-1]%byte(len(r.trying))]
	lock.Lock()
	defer lock.Unlock()
	o, err := r.read(ctx, tenant, device)
	if err != nil {
		return err
	}
	if o == nil {
		return ErrNone
	}
	if subtle.ConstantTimeCompare(o.Secret, hash(device, secret)) != 1 {
		return r.tried(ctx, tenant, device, *o)
	}
	if err := take(); err != nil {
		return err
	}
	return r.End(ctx, tenant, device)
}

// tried counts a wrong secret against an offer.
func (r *Registry) tried(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, o offer) error {
	o.Tries++
	count := func() error { return r.write(ctx, tenant, device, o) }
	if o.Tries >= r.settings.Tries {
		count = func() error { return r.End(ctx, tenant, device) }
	}
	if err := count(); err != nil {
		return err
	}
	return ErrNone
}

// End ends the device's offer, if there is one.
func (r *Registry) End(ctx context.Context, tenant ident.TenantID, device ident.DeviceID) error {
	if err := r.rows.DeleteRows(ctx, group(tenant, device)); err != nil {
		return fmt.Errorf("end the offer of a device: %w", err)
	}
	return nil
}

// EntityDeleted ends the offer of a device that is going away. It implements entity.Attached.
func (r *Registry) EntityDeleted(ctx context.Context, tenant ident.TenantID, e ident.EntityID) error {
	if e.Type != ident.Device {
		return nil
	}
	return r.End(ctx, tenant, ident.DeviceID{ID: e.ID})
}
