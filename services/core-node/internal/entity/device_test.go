package entity_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestDeviceComesBack(t *testing.T) {
	p := start(t)
	c := p.newCustomer(t, "c")
	pump, err := p.DeviceProfiles.Create(t.Context(), entity.Profile{Tenant: p.tenant, Name: "pump"})
	if err != nil {
		t.Fatal(err)
	}
	firmware, err := p.Packages.Create(t.Context(), entity.Package{
		Tenant: p.tenant, Profile: pump.ID, Type: entity.Firmware, Title: "fw", Version: "1", URL: "https://example.org/fw",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := p.newDevice(t, entity.Device{
		Name: "d", Label: "l", Customer: c, Type: "pump",
		AdditionalInfo: json.RawMessage(`{"gateway":true}`), Data: json.RawMessage(`{"x":1}`), Firmware: firmware.ID,
	})
	if want.Version != 1 || want.CreatedTime != now().UnixMilli() || want.Type != "pump" {
		t.Errorf("created %+v", want)
	}
	byID, err := p.Devices.Device(t.Context(), p.tenant, want.ID)
	if err != nil {
		t.Fatal(err)
	}
	byName, err := p.Devices.ByName(t.Context(), p.tenant, "d")
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []entity.Device{byID, byName} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-created +read):\n%s", diff)
		}
	}
	profile, err := p.DeviceProfiles.ByName(t.Context(), p.tenant, "pump")
	if err != nil || profile.ID != want.Profile {
		t.Errorf("the device's profile is %v, that of its type %v, %v", want.Profile, profile.ID, err)
	}
	if d := p.newDevice(t, entity.Device{Name: "plain"}); d.Type != "default" {
		t.Errorf("type of a device without one is %q", d.Type)
	}
}

func TestDeviceRefused(t *testing.T) {
	p := start(t)
	other := p.newTenant(t, "Other")
	theirs, err := p.DeviceProfiles.Default(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	token := func(text string) *entity.Credentials {
		return &entity.Credentials{Type: entity.AccessToken, CredentialsID: text}
	}
	if _, err := p.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: "taken"}, token("T1")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		device  entity.Device
		token   *entity.Credentials
		message string
	}{
		"name taken":       {entity.Device{Name: "taken"}, nil, "Device with such name already exists!"},
		"token taken":      {entity.Device{Name: "new"}, token("T1"), "Device credentials are already assigned to another device!"},
		"no name":          {entity.Device{}, nil, "Device name should be specified!"},
		"long name":        {entity.Device{Name: strings.Repeat("ä", 256)}, nil, "Device name length must be equal or less than 255"},
		"control":          {entity.Device{Name: "a\x00"}, nil, "Device name contains a control character"},
		"long label":       {entity.Device{Name: "new", Label: strings.Repeat("x", 256)}, nil, "label length must be equal or less than 255"},
		"others' profile":  {entity.Device{Name: "new", Profile: theirs.ID}, nil, "Device is referencing to non-existent device profile!"},
		"others' customer": {entity.Device{Name: "new", Customer: ident.CustomerID{ID: ident.New()}}, nil, "Can't assign device to non-existent customer!"},
		"empty token":      {entity.Device{Name: "new"}, token(""), "Device credentials id should be specified!"},
		"control in token": {entity.Device{Name: "new"}, token("a\nb"), "credentialsId contains a control character"},
		"unknown type":     {entity.Device{Name: "new"}, &entity.Credentials{Type: "X509"}, "Credentials type 'X509' is not supported!"},
	} {
		t.Run(name, func(t *testing.T) {
			c.device.Tenant = p.tenant
			_, err := p.Devices.Create(t.Context(), c.device, c.token)
			refused(t, err, fault.Invalid, nil)
			if message(err) != c.message {
				t.Errorf("message is %q", message(err))
			}
		})
	}
	if _, err := p.Devices.ByName(t.Context(), p.tenant, "new"); err == nil {
		t.Error("a refused device is there")
	}
	if _, err := p.Devices.Create(t.Context(), entity.Device{Tenant: other, Name: "taken"}, nil); err != nil {
		t.Errorf("a name of another tenant's: %v", err)
	}
}

func TestDeviceCredentials(t *testing.T) {
	p := start(t)
	d := p.newDevice(t, entity.Device{Name: "d"})
	c, err := p.Devices.Credentials(t.Context(), p.tenant, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if c.Type != entity.AccessToken || c.Version != 1 || !regexp.MustCompile(`^[A-Za-z0-9]{20}$`).MatchString(c.CredentialsID) {
		t.Errorf("default credentials are %+v", c)
	}
	found, err := p.Devices.CredentialsByID(t.Context(), c.CredentialsID)
	if err != nil || found != c {
		t.Errorf("found by id: %+v, %v", found, err)
	}
	p.take()
	if _, err := p.Devices.UpdateCredentials(t.Context(), c); err != nil || len(p.take()) != 0 {
		t.Errorf("saving the same again: %v", err)
	}
	old := c.CredentialsID
	c.CredentialsID = "mine"
	updated, err := p.Devices.UpdateCredentials(t.Context(), c)
	if err != nil || updated.Version != 2 || updated.ID != c.ID {
		t.Fatalf("updated to %+v, %v", updated, err)
	}
	events := p.take()
	if len(events) != 1 || !events[0].GetCredentialsChanged() || !cmp.Equal(events[0].GetCredentialsIds(), []string{old, "mine"}) {
		t.Errorf("announced %v", events)
	}
	_, err = p.Devices.CredentialsByID(t.Context(), old)
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	c.CredentialsID = "again"
	_, err = p.Devices.UpdateCredentials(t.Context(), c) // version 1
	refused(t, err, fault.Conflict, storage.ErrVersion)
	if d, err := p.Devices.Device(t.Context(), p.tenant, d.ID); err != nil || d.Version != 1 {
		t.Errorf("the device's version is %d, %v", d.Version, err)
	}
	p.newDevice(t, entity.Device{Name: "other"})
	other, err := p.Devices.ByName(t.Context(), p.tenant, "other")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Devices.UpdateCredentials(t.Context(), entity.Credentials{Tenant: p.tenant, Device: other.ID, Type: entity.AccessToken, CredentialsID: "mine"})
	refused(t, err, fault.Invalid, storage.ErrTaken)
}

// Digests are SHA3-256, as the device API's §1.2 has them.
func TestBasicCredentials(t *testing.T) {
	p := start(t)
	d := p.newDevice(t, entity.Device{Name: "d"})
	for name, c := range map[string]struct{ value, id string }{
		"both":                    {`{"clientId":"c","userName":"u","password":"p"}`, "29cd886b96af386fd43e"},
		"client only":             {`{"clientId":"c"}`, "263ab762270d3b73d3e2"},
		"user only":               {`{"userName":"u","password":null}`, "u"},
		"neither":                 {`{"password":"p"}`, ""},
		"client and password":     {`{"clientId":"c","password":"p"}`, ""},
		"control":                 {`{"userName":"a\u0000"}`, ""},
		"not JSON":                {`{`, ""},
		"another type":            {`{"userName":1}`, ""},
		"longer than can be kept": {`{"userName":"` + strings.Repeat("x", 5000) + `"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Devices.UpdateCredentials(t.Context(), entity.Credentials{Tenant: p.tenant, Device: d.ID, Type: entity.MQTTBasic, CredentialsID: "ignored", CredentialsValue: c.value})
			if c.id == "" {
				refused(t, err, fault.Invalid, nil)
				return
			}
			if err != nil || !strings.HasPrefix(got.CredentialsID, c.id) || got.CredentialsValue != c.value {
				t.Errorf("credentials are %+v, %v", got, err)
			}
		})
	}
}

func TestDeviceVersions(t *testing.T) {
	p := start(t)
	c := p.newCustomer(t, "c")
	d := p.newDevice(t, entity.Device{Name: "d", Customer: c})
	d.Name, d.Customer, d.CreatedTime = "renamed", ident.CustomerID{}, 5
	updated, err := p.Devices.Update(t.Context(), d)
	if err != nil || updated.Version != 2 || updated.Customer != c || updated.CreatedTime != now().UnixMilli() {
		t.Fatalf("updated to %+v, %v", updated, err)
	}
	_, err = p.Devices.Update(t.Context(), d)
	refused(t, err, fault.Conflict, storage.ErrVersion)
	d.Version = 0
	if updated, err = p.Devices.Update(t.Context(), d); err != nil || updated.Version != 3 {
		t.Fatalf("overwritten to %+v, %v", updated, err)
	}
	_, err = p.Devices.ByName(t.Context(), p.tenant, "d")
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	p.newDevice(t, entity.Device{Name: "d"})
	d.Name = "d"
	_, err = p.Devices.Update(t.Context(), d)
	refused(t, err, fault.Invalid, storage.ErrTaken)
	d.ID = ident.DeviceID{ID: ident.New()}
	_, err = p.Devices.Update(t.Context(), d)
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	if !strings.Contains(message(err), d.ID.String()) {
		t.Errorf("message is %q", message(err))
	}
}

func TestDeviceAssignment(t *testing.T) {
	p := start(t)
	c := p.newCustomer(t, "c")
	d := p.newDevice(t, entity.Device{Name: "d"})
	_, err := p.Devices.Unassign(t.Context(), p.tenant, d.ID)
	refused(t, err, fault.Invalid, nil)
	for range 2 { // the second changes nothing
		got, err := p.Devices.Assign(t.Context(), p.tenant, d.ID, c)
		if err != nil || got.Customer != c || got.Version != 2 {
			t.Fatalf("assigned: %+v, %v", got, err)
		}
	}
	_, err = p.Devices.Assign(t.Context(), p.tenant, d.ID, ident.CustomerID{ID: ident.New()})
	refused(t, err, fault.NotFound, storage.ErrNotFound)
	if got, err := p.Devices.Unassign(t.Context(), p.tenant, d.ID); err != nil || !got.Customer.IsZero() {
		t.Errorf("unassigned: %+v, %v", got, err)
	}
}

func TestDeviceIsGoneWithItsValues(t *testing.T) {
	p := start(t)
	d := p.newDevice(t, entity.Device{Name: "d"})
	err := p.store.Write(t.Context(), []storage.Write{{Entity: d.ID.Entity(), Time: 1, Stamp: 1, Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Devices.Credentials(t.Context(), p.tenant, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Devices.Delete(t.Context(), p.tenant, d.ID); err != nil {
		t.Fatal(err)
	}
	_, credentials := p.Devices.CredentialsByID(t.Context(), c.CredentialsID)
	_, device := p.Devices.Device(t.Context(), p.tenant, d.ID)
	for _, err := range []error{credentials, device, p.Devices.Delete(t.Context(), p.tenant, d.ID)} {
		refused(t, err, fault.NotFound, storage.ErrNotFound)
	}
	if left, err := p.store.Latest(t.Context(), d.ID.Entity(), nil); err != nil || len(left) != 0 {
		t.Errorf("values left: %v, %v", left, err)
	}
}

func TestAnotherTenantsDeviceIsNotFound(t *testing.T) {
	p := start(t)
	d := p.newDevice(t, entity.Device{Name: "d"})
	other := p.newTenant(t, "Other")
	c := p.newCustomer(t, "c")
	_, get := p.Devices.Device(t.Context(), other, d.ID)
	_, byName := p.Devices.ByName(t.Context(), other, "d")
	_, credentials := p.Devices.Credentials(t.Context(), other, d.ID)
	_, assign := p.Devices.Assign(t.Context(), other, d.ID, c)
	_, unassign := p.Devices.Unassign(t.Context(), other, d.ID)
	theirs := d
	theirs.Tenant = other
	_, update := p.Devices.Update(t.Context(), theirs)
	_, set := p.Devices.UpdateCredentials(t.Context(), entity.Credentials{Tenant: other, Device: d.ID, Type: entity.AccessToken, CredentialsID: "x"})
	for _, err := range []error{get, byName, credentials, assign, unassign, update, set, p.Devices.Delete(t.Context(), other, d.ID)} {
		refused(t, err, fault.NotFound, storage.ErrNotFound)
	}
	found, err := p.Devices.List(t.Context(), other, entity.DeviceFilter{}, entity.PageRequest{Size: 10})
	if err != nil || found.Total != 0 {
		t.Errorf("%d of another tenant's devices listed, %v", found.Total, err)
	}
}

func TestEachDevice(t *testing.T) {
	p := start(t)
	other := p.newTenant(t, "Other")
	for i := range 3 {
		p.newDevice(t, entity.Device{Name: fmt.Sprint(i)})
		p.newDevice(t, entity.Device{Name: fmt.Sprint(i), Tenant: other})
	}
	n := 0
	if err := p.Devices.EachDevice(t.Context(), func(entity.Device) error { n++; return nil }); err != nil || n != 6 {
		t.Errorf("%d devices, %v", n, err)
	}
}

func TestSideBySide(t *testing.T) {
	p := start(t)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 20 {
				d, err := p.Devices.Create(t.Context(), entity.Device{Tenant: p.tenant, Name: fmt.Sprint(w, i), Type: fmt.Sprint("type", i)}, nil)
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				d.Label, d.Version = "x", 0
				if _, err := p.Devices.Update(t.Context(), d); err != nil {
					t.Errorf("update: %v", err)
				}
				page, err := p.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 1000, Search: fmt.Sprint(w, i)})
				if err != nil || !contains(page, d.ID) {
					t.Errorf("what was created is not listed: %v", err)
				}
				if i%2 == 0 {
					if err := p.Devices.Delete(t.Context(), p.tenant, d.ID); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
			}
		})
	}
	group.Wait()
	found, err := p.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 1000})
	if err != nil || found.Total != 40 || len(found.Items) != 40 {
		t.Errorf("%d of %d devices, %v; want 40", len(found.Items), found.Total, err)
	}
}

func contains(page entity.Page[entity.Device], id ident.DeviceID) bool {
	for _, d := range page.Items {
		if d.ID == id {
			return true
		}
	}
	return false
}
