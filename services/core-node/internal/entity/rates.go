package entity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Bounds of a rate's text, as tenant profiles have it.
const (
	maxRateText  = 255
	maxRateParts = 8
	maxRateValue = 1_000_000_000
)

// configuration reads profileData.configuration of a tenant profile.
func (p TenantProfile) configuration() (map[string]json.RawMessage, error) {
	var data struct {
		Configuration map[string]json.RawMessage `json:"configuration"`
	}
	if len(p.Data) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(p.Data, &data); err != nil {
		return nil, fault.Wrap(fault.Invalid, "profileData: "+err.Error(), err)
	}
	return data.Configuration, nil
}

// rateOf reads one rate; absent and null are none.
func rateOf(configuration map[string]json.RawMessage, field string) (string, error) {
	var rate string
	if raw := configuration[field]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &rate); err != nil {
			return "", fault.Wrap(fault.Invalid, "profileData.configuration."+field+": is not a text", err)
		}
	}
	return rate, nil
}

// rates reads what a tenant and its devices may send; nil when nothing is limited.
func (p TenantProfile) rates() (*sluicepb.RateLimits, error) {
	configuration, err := p.configuration()
	if err != nil {
		return nil, err
	}
	limited := false
	level := func(name string) *sluicepb.RateLimit {
		limit := &sluicepb.RateLimit{}
		for kind, rate := range map[string]*string{
			"Msg": &limit.Messages, "TelemetryMsg": &limit.TelemetryMessages, "TelemetryDataPoints": &limit.TelemetryPoints,
		} {
			field := "transport" + name + kind + "RateLimit"
			text, e := rateOf(configuration, field)
			if e == nil {
				e = checkRate(field, text)
			}
			if e != nil {
				err = errors.Join(err, e)
				continue
			}
			*rate = text
			limited = limited || text != ""
		}
		return limit
	}
	rates := &sluicepb.RateLimits{Tenant: level("Tenant"), Device: level("Device"), Gateway: level("Gateway"), GatewayDevice: level("GatewayDevice")}
	if err != nil || !limited {
		return nil, err
	}
	return rates, nil
}

// checkRate holds text to "capacity:seconds,…".
func checkRate(field, text string) error {
	if text == "" {
		return nil
	}
	wrong := fault.New(fault.Invalid, fmt.Sprintf("profileData.configuration.%s: %.60q is no list of capacity:seconds", field, text))
	parts := strings.Split(text, ",")
	if len(text) > maxRateText || len(parts) > maxRateParts {
		return wrong
	}
	for _, part := range parts {
		capacity, seconds, _ := strings.Cut(part, ":")
		for _, number := range []string{capacity, seconds} {
			if n, err := strconv.Atoi(number); err != nil || n <= 0 || n > maxRateValue {
				return wrong
			}
		}
	}
	return nil
}

// check validates what an administrator set.
func (p TenantProfile) check() error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	if _, err := p.rates(); err != nil {
		return err
	}
	return p.checkLimits()
}

// Rates returns what a tenant and its devices may send, by the tenant's profile; nil when nothing is limited.
func (r *TenantRegistry) Rates(ctx context.Context, tenant ident.TenantID) (*sluicepb.RateLimits, error) {
	p, err := r.profileOf(ctx, tenant)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil //nolint:nilnil // the tenant is going away
	}
	if err != nil {
		return nil, err
	}
	return p.rates()
}

func (r *TenantRegistry) profileOf(ctx context.Context, tenant ident.TenantID) (TenantProfile, error) {
	t, err := r.Get(ctx, tenant)
	if err != nil {
		return TenantProfile{}, err
	}
	return r.Profile(ctx, t.Profile)
}

// announceProfile tells of each tenant of a profile that its limits changed: transports know devices by their tenant, not by the
// tenant's profile.
func (r *TenantRegistry) announceProfile(ctx context.Context, p TenantProfile) error {
	return r.tenants.each(ctx, ident.TenantID{}, func(t Tenant) error {
		if t.Profile != p.ID {
			return nil
		}
		return r.announceLimits(ctx, t.ID, p)
	})
}

// announceLimits tells all nodes that the tenant's limits are now those of p.
func (r *TenantRegistry) announceLimits(ctx context.Context, tenant ident.TenantID, p TenantProfile) error {
	err := r.all.options.Events.Announce(ctx, &sluicepb.EntityEvent{
		TenantId: tenant.ID[:], Entity: &sluicepb.EntityId{Type: ident.TenantProfile, Id: p.ID[:]}, Version: p.Version,
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, "announce the limits of a tenant", err)
	}
	return nil
}
