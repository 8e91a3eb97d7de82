package httpapi_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

func TestDeviceTypesAreThoseInUse(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	type subtype struct {
		TenantID         entityRef
		EntityType, Type string
	}
	types := func() (all []subtype) {
		c.Get("/api/device/types", &all)
		return all
	}
	before := len(types())
	d := create(t, c, "/api/device", `{"name":"D","type":"rare"}`)
	want := subtype{d.TenantID, "DEVICE", "rare"}
	if all := types(); len(all) != before+1 || !slices.Contains(all, want) {
		t.Errorf("types %+v", all)
	}
	c.Do("DELETE", "/api/device/"+d.ID.ID, nil).Expect(200)
	if all := types(); slices.Contains(all, want) { // its profile stays
		t.Errorf("types %+v", all)
	}
}

func TestDevicesForEverybody(t *testing.T) {
	p := httpapitest.Start(t)
	c := p.Admin(t)
	first := create(t, c, "/api/device", `{"name":"First"}`)
	second := create(t, c, "/api/device", `{"name":"Second"}`)
	path := "/api/customer/public/device/"
	everybody := create(t, c, path+first.ID.ID, nil).CustomerID
	if again := create(t, c, path+second.ID.ID, nil).CustomerID; again != everybody {
		t.Errorf("assigned to %v and to %v", everybody, again)
	}
	var info struct {
		CustomerTitle    string
		CustomerIsPublic bool
	}
	c.Get("/api/device/info/"+first.ID.ID, &info)
	if info.CustomerTitle != "Public" || !info.CustomerIsPublic {
		t.Errorf("info %+v", info)
	}
	p.Customer(t).Do("POST", path+first.ID.ID, nil).ExpectError(403, 20)
	c.Do("POST", path+everybody.ID, nil).ExpectError(404, 32)
}

func TestKeysOfAProfilesDevices(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	profile := ""
	for i, kind := range []string{"meter", "meter", "valve"} {
		d := create(t, c, "/api/device", fmt.Sprintf(`{"name":"D%d","type":%q}`, i, kind))
		if kind == "meter" {
			profile = d.DeviceProfileID.ID
		}
		c.Do("POST", "/api/plugins/telemetry/DEVICE/"+d.ID.ID+"/timeseries/ANY", fmt.Sprintf(`{"%s%d":1,"both":2}`, kind, i)).Expect(200)
		c.Do("POST", "/api/plugins/telemetry/DEVICE/"+d.ID.ID+"/attributes/SHARED_SCOPE", fmt.Sprintf(`{"%sLimit":1}`, kind)).Expect(200)
	}
	for path, want := range map[string][]string{
		"timeseries?deviceProfileId=" + profile: {"both", "meter0", "meter1"},
		"timeseries":                            {"both", "meter0", "meter1", "valve2"},
		"attributes?deviceProfileId=" + profile: {"meterLimit"},
	} {
		var keys []string
		c.Get("/api/deviceProfile/devices/keys/"+path, &keys)
		if path == "timeseries" { // the demo's devices have some, too
			keys = slices.DeleteFunc(keys, func(key string) bool { return !slices.Contains(want, key) })
		}
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	c.Do("GET", "/api/deviceProfile/devices/keys/timeseries?deviceProfileId=x", nil).ExpectError(400, 31)
}
