package entity_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func (p platform) newProfile(t *testing.T, profile entity.Profile) entity.Profile {
	t.Helper()
	profile.Tenant = p.tenant
	created, err := p.DeviceProfiles.Create(t.Context(), profile)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func TestDeviceProfiles(t *testing.T) {
	p := start(t)
	key := json.RawMessage(`{"provisionDeviceKey":"key"}`)
	a := p.newProfile(t, entity.Profile{Name: "a", IsDefault: true, Body: key})
	if a.IsDefault || a.TransportType != "DEFAULT" || a.Version != 1 {
		t.Errorf("created %+v", a)
	}
	for name, c := range map[string]struct {
		profile entity.Profile
		message string
	}{
		"name taken":      {entity.Profile{Name: "a"}, "Device profile with such name already exists!"},
		"key taken":       {entity.Profile{Name: "b", Body: key}, "Device profile with such provision device key already exists!"},
		"no name":         {entity.Profile{}, "name should be specified!"},
		"other transport": {entity.Profile{Name: "b", TransportType: "PIGEON"}, "Transport type 'PIGEON' is not supported!"},
		"bad body":        {entity.Profile{Name: "b", Body: json.RawMessage(`{"provisionDeviceKey":7}`)}, "Device profile is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			c.profile.Tenant = p.tenant
			_, err := p.DeviceProfiles.Create(t.Context(), c.profile)
			refused(t, err, fault.Invalid, nil)
			if message(err) != c.message {
				t.Errorf("message is %q", message(err))
			}
		})
	}
	a.DefaultQueue = "Main"
	if updated, err := p.DeviceProfiles.Update(t.Context(), a); err != nil || updated.Version != 2 {
		t.Errorf("updated to %+v, %v", updated, err)
	}
	_, err := p.DeviceProfiles.Update(t.Context(), a)
	refused(t, err, fault.Conflict, storage.ErrVersion)
	p.newProfile(t, entity.Profile{Name: "m", TransportType: "MQTT"})
	if found, err := p.DeviceProfiles.List(t.Context(), p.tenant, "MQTT", entity.PageRequest{Size: 9}); err != nil || found.Total != 1 {
		t.Errorf("listed %+v, %v", found, err)
	}
	d := p.newDevice(t, entity.Device{Name: "d", Profile: a.ID})
	refused(t, p.DeviceProfiles.Delete(t.Context(), p.tenant, a.ID), fault.Invalid, nil)
	if err := p.Devices.Delete(t.Context(), p.tenant, d.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.DeviceProfiles.Delete(t.Context(), p.tenant, a.ID); err != nil {
		t.Error(err)
	}
}

func TestDefaultProfileMoves(t *testing.T) {
	p := start(t)
	old, err := p.DeviceProfiles.Default(t.Context(), p.tenant)
	if err != nil {
		t.Fatal(err)
	}
	a := p.newProfile(t, entity.Profile{Name: "a"})
	for range 2 {
		if got, err := p.DeviceProfiles.SetDefault(t.Context(), p.tenant, a.ID); err != nil || !got.IsDefault {
			t.Fatalf("set to %+v, %v", got, err)
		}
	}
	if got, err := p.DeviceProfiles.Default(t.Context(), p.tenant); err != nil || got.ID != a.ID {
		t.Errorf("default is %+v, %v", got, err)
	}
	refused(t, p.DeviceProfiles.Delete(t.Context(), p.tenant, a.ID), fault.Invalid, nil)
	if err := p.DeviceProfiles.Delete(t.Context(), p.tenant, old.ID); err != nil {
		t.Errorf("the former default: %v", err)
	}
	_, err = p.DeviceProfiles.SetDefault(t.Context(), p.tenant, ident.New())
	refused(t, err, fault.NotFound, storage.ErrNotFound)
}

// cutOff is a store that takes so many updates more.
type cutOff struct {
	storage.Entities
	left int
}

func (c *cutOff) Update(ctx context.Context, d storage.Document) (int64, error) {
	if c.left--; c.left < 0 {
		return 0, storage.ErrUnavailable
	}
	return c.Entities.Update(ctx, d)
}

func TestThereIsADefaultProfileWhateverIsCutOff(t *testing.T) {
	for left := range 3 {
		p := start(t)
		a := p.newProfile(t, entity.Profile{Name: "a"})
		broken := entity.New(&cutOff{p.store, left}, entity.Options{Events: p.recorder})
		_, err := broken.DeviceProfiles.SetDefault(t.Context(), p.tenant, a.ID)
		if (err == nil) != (left == 2) || err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("after %d updates: %v", left, err)
		}
		got, err := p.DeviceProfiles.Default(t.Context(), p.tenant)
		if err != nil || !got.IsDefault || (got.ID == a.ID) != (left == 2) {
			t.Errorf("after %d updates the default is %+v, %v", left, got, err)
		}
	}
}
