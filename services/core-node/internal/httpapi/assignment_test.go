package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// give saves a device with packages of its own; "" is none.
func give(c *httpapitest.Client, d entity.Device, firmware, software string) httpapitest.Answer {
	reference := func(id string) string {
		if id == "" {
			return "null"
		}
		return fmt.Sprintf(`{"entityType":"OTA_PACKAGE","id":%q}`, id)
	}
	return c.Do("POST", "/api/device", fmt.Sprintf(`{"id":{"entityType":"DEVICE","id":%q},"name":%q,"deviceProfileId":{"entityType":"DEVICE_PROFILE","id":%q},"firmwareId":%s,"softwareId":%s}`,
		d.ID, d.Name, d.Profile, reference(firmware), reference(software)))
}

// giveProfile saves the profile with firmware for all its devices.
func giveProfile(t *testing.T, c *httpapitest.Client, profile, firmware string) httpapitest.Answer {
	t.Helper()
	var body map[string]any
	c.Get("/api/deviceProfile/"+profile, &body)
	body["firmwareId"] = nil
	if firmware != "" {
		body["firmwareId"] = map[string]string{"entityType": "OTA_PACKAGE", "id": firmware}
	}
	delete(body, "version")
	return c.Do("POST", "/api/deviceProfile", body)
}

// announced is what a device's shared attributes tell of packages.
func announced(c *httpapitest.Client, device ident.DeviceID) map[string]any {
	var entries []struct {
		Key   string
		Value any
	}
	c.Get("/api/plugins/telemetry/DEVICE/"+device.String()+"/values/attributes/SHARED_SCOPE", &entries)
	told := map[string]any{}
	for _, e := range entries {
		if len(e.Key) > 3 && (e.Key[:3] == "fw_" || e.Key[:3] == "sw_") {
			told[e.Key] = e.Value
		}
	}
	return told
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 30 s", what)
		}
	}
}

func tells(prefix string, p packageAnswer) map[string]any {
	told := map[string]any{prefix + "title": p.Title, prefix + "version": p.Version}
	if p.URL != nil {
		told[prefix+"url"] = *p.URL
		return told
	}
	told[prefix+"size"], told[prefix+"checksum"], told[prefix+"checksum_algorithm"] = float64(*p.DataSize), *p.Checksum, *p.ChecksumAlgorithm
	return told
}

func TestM84AssignedPackagesAreAnnounced(t *testing.T) {
	p := httpapitest.Start(t)
	c, d := p.Admin(t), p.Demo(t, "Test Device A1")
	profile := d.Profile.String()
	one, two := complete(t, c, "FIRMWARE", "one", profile, []byte("first")), complete(t, c, "FIRMWARE", "two", profile, []byte("second one"))
	app := newPackage(t, c, packageOf("SOFTWARE", "app", "2", profile, `,"url":"https://example.org/app"`))
	check := func(step string, want map[string]any) {
		t.Helper()
		if diff := cmp.Diff(want, announced(c, d.ID)); diff != "" {
			t.Errorf("%s (-want +told):\n%s", step, diff)
		}
	}
	give(c, d, one.ID.ID, "").Expect(200)
	check("assigned", tells("fw_", one))
	var told map[string][]struct {
		TS    int64
		Value string
	}
	c.Get("/api/plugins/telemetry/DEVICE/"+d.ID.String()+"/values/timeseries?startTs=0&endTs=9999999999999&keys=fw_state,target_fw_title,target_fw_version,target_fw_ts", &told)
	if len(told["fw_state"]) != 2 || told["fw_state"][0].Value != "INITIATED" || told["fw_state"][1].Value != "QUEUED" ||
		told["target_fw_title"][0].Value != "one" || told["target_fw_version"][0].Value != "1.0" || len(told["target_fw_ts"]) != 1 {
		t.Errorf("progress is told as %v", told)
	}
	both := tells("fw_", two)
	maps.Copy(both, tells("sw_", app))
	give(c, d, two.ID.ID, app.ID.ID).Expect(200)
	check("another, and software by URL", both)
	c.Do("DELETE", "/api/otaPackage/"+two.ID.ID, nil).ExpectError(400, 31)
	c.Do("DELETE", "/api/otaPackage/"+app.ID.ID, nil).ExpectError(400, 31)
	c.Do("DELETE", "/api/otaPackage/"+one.ID.ID, nil).Expect(200)
	give(c, d, "", "").Expect(200)
	check("cleared", map[string]any{})
	c.Do("DELETE", "/api/otaPackage/"+two.ID.ID, nil).Expect(200)
}

func TestAProfilesPackageReachesItsDevices(t *testing.T) {
	p := httpapitest.Start(t)
	c, a, b := p.Admin(t), p.Demo(t, "Test Device A1"), p.Demo(t, "Test Device A2")
	profile := a.Profile.String()
	shared, own := complete(t, c, "FIRMWARE", "shared", profile, []byte("shared")), complete(t, c, "FIRMWARE", "own", profile, []byte("own"))
	give(c, a, own.ID.ID, "").Expect(200)
	giveProfile(t, c, profile, shared.ID.ID).Expect(200)
	eventually(t, "announcement", func() bool { return cmp.Equal(announced(c, b.ID), tells("fw_", shared)) })
	if diff := cmp.Diff(tells("fw_", own), announced(c, a.ID)); diff != "" {
		t.Errorf("a device of its own is told of the profile's (-want +told):\n%s", diff)
	}
	var following, all int
	c.Get("/api/devices/count/FIRMWARE/"+profile, &following)
	c.Get("/api/devices/count/SOFTWARE/"+profile, &all)
	if following != all-1 {
		t.Errorf("%d devices of %d follow the profile, want all but one", following, all)
	}
	c.Do("DELETE", "/api/otaPackage/"+shared.ID.ID, nil).ExpectError(400, 31)

	// Whatever comes to the profile later is told at once, and who gives up its own follows again.
	var made deviceAnswer
	c.Do("POST", "/api/device", fmt.Sprintf(`{"name":"late","deviceProfileId":{"entityType":"DEVICE_PROFILE","id":%q}}`, profile)).Expect(200).JSON(&made)
	late, err := ident.Parse(made.ID.ID)
	if err != nil {
		t.Fatal(err)
	}
	give(c, a, "", "").Expect(200)
	for _, id := range []ident.DeviceID{{ID: late}, a.ID} {
		if diff := cmp.Diff(tells("fw_", shared), announced(c, id)); diff != "" {
			t.Errorf("(-want +told):\n%s", diff)
		}
	}
	giveProfile(t, c, profile, "").Expect(200)
	eventually(t, "end of the assignment", func() bool { return len(announced(c, b.ID)) == 0 && len(announced(c, a.ID)) == 0 })
	c.Do("DELETE", "/api/otaPackage/"+shared.ID.ID, nil).Expect(200)
}

func TestWhatMayBeAssigned(t *testing.T) {
	p := httpapitest.Start(t)
	c, d := p.Admin(t), p.Demo(t, "Test Device A1")
	v := newVictim(t, p)
	profile := d.Profile.String()
	var other struct{ ID entityRef }
	c.Do("POST", "/api/deviceProfile", `{"name":"other"}`).Expect(200).JSON(&other)
	good := complete(t, c, "FIRMWARE", "good", profile, []byte("x"))
	for name, id := range map[string]string{
		"nothing there":     ident.New().String(),
		"another tenant's":  v.ids["otaPackageId"],
		"software":          complete(t, c, "SOFTWARE", "soft", profile, []byte("x")).ID.ID,
		"without data":      newPackage(t, c, packageOf("FIRMWARE", "empty", "1", profile, "")).ID.ID,
		"another profile's": complete(t, c, "FIRMWARE", "others", other.ID.ID, []byte("x")).ID.ID,
	} {
		t.Run(name, func(t *testing.T) {
			give(c, d, id, "").ExpectError(400, 31)
			giveProfile(t, c, profile, id).ExpectError(400, 31)
			c.Do("POST", "/api/device", fmt.Sprintf(`{"name":"new","deviceProfileId":{"id":%q},"firmwareId":{"id":%q}}`, profile, id)).ExpectError(400, 31)
		})
	}
	if told := announced(c, d.ID); len(told) > 0 {
		t.Errorf("what was refused is told: %v", told)
	}
	give(c, d, good.ID.ID, "").Expect(200)
	c.Do("POST", "/api/deviceProfile", json.RawMessage(fmt.Sprintf(`{"name":"new","firmwareId":{"entityType":"OTA_PACKAGE","id":%q}}`, good.ID.ID))).ExpectError(400, 31)
	d.Profile, _ = ident.Parse(other.ID.ID)
	give(c, d, good.ID.ID, "").ExpectError(400, 31) // it is no longer of the device's profile
}

// TestWhatADeadProcessNotedIsDone: a node that dies between storing a change and telling of it leaves its journal to whoever owns the partition.
func TestWhatADeadProcessNotedIsDone(t *testing.T) {
	var ahead atomic.Int64
	p := httpapitest.Start(t, func(o *httpapitest.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c, a, b := p.Admin(t), p.Demo(t, "Test Device A1"), p.Demo(t, "Test Device A2")
	shared := complete(t, c, "FIRMWARE", "shared", a.Profile.String(), []byte("shared"))
	giveProfile(t, c, a.Profile.String(), shared.ID.ID).Expect(200)
	eventually(t, "announcement", func() bool { return len(announced(c, a.ID)) > 0 && len(announced(c, b.ID)) > 0 })
	// What a node had done when it died: the changes are noted, the attributes are not there.
	for _, d := range []entity.Device{a, b} {
		if err := p.Store.DeleteAttributes(t.Context(), d.ID.Entity(), storage.Shared, []string{"fw_title", "fw_size"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Packages.Changing(t.Context(), a.Tenant, a.ID.Entity()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Packages.Changing(t.Context(), a.Tenant, ident.EntityID{Type: ident.DeviceProfile, ID: a.Profile}); err != nil {
		t.Fatal(err)
	}
	p.Packages.Look()
	ahead.Store(int64(5 * time.Minute))
	p.Packages.Look()
	for _, d := range []entity.Device{a, b} {
		eventually(t, "announcement by another", func() bool { return cmp.Equal(announced(c, d.ID), tells("fw_", shared)) })
	}
	// The data of a deleted package goes in the end.
	giveProfile(t, c, a.Profile.String(), "").Expect(200)
	c.Do("DELETE", "/api/otaPackage/"+shared.ID.ID, nil).Expect(200)
	if left := blobs(t, p); len(left) != 1 {
		t.Errorf("before the journal is worked off: %v", left)
	}
	ahead.Store(int64(20 * time.Minute))
	p.Packages.Look()
	eventually(t, "removal of the data", func() bool { return len(blobs(t, p)) == 0 })
}
