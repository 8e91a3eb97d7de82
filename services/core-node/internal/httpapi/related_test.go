package httpapi_test

import (
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

func TestRelatedDevicesAndAssets(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	house, room := newAsset(admin, "House"), newAsset(admin, "Room")
	mine, thermostat := p.Demo(t, "Test Device A1").ID.String(), p.Demo(t, "Thermostat T1").ID.String()
	admin.Do("POST", "/api/relation", relationBody("ASSET", house, "ASSET", room, "Contains")).Expect(200)
	admin.Do("POST", "/api/relation", relationBody("ASSET", room, "DEVICE", mine, "Contains")).Expect(200)
	admin.Do("POST", "/api/relation", relationBody("ASSET", room, "DEVICE", thermostat, "Contains")).Expect(200)
	admin.Do("POST", "/api/relation", relationBody("ASSET", house, "DEVICE", mine, "Contains")).Expect(200)
	admin.Do("POST", "/api/relation", relationBody("DEVICE", mine, "DEVICE", thermostat, "Contains")).Expect(200)
	from := func(kind, id, rest string) string {
		return `{"parameters":{"rootId":"` + id + `","rootType":"` + kind + `","direction":"FROM","maxLevel":3}` + rest + `}`
	}
	for _, c := range []struct {
		who        *httpapitest.Client
		path, body string
		want       int
	}{
		{admin, "/api/devices", from("ASSET", house, `,"relationType":"Contains","deviceTypes":["default","thermostat"]`), 2},
		{admin, "/api/devices", from("ASSET", house, `,"deviceTypes":["thermostat"]`), 1},
		{admin, "/api/devices", from("ASSET", house, `,"relationType":"Manages"`), 0},
		{admin, "/api/assets", from("ASSET", house, `,"relationType":"Contains","assetTypes":["default"]`), 1},
		{admin, "/api/assets", from("ASSET", house, `,"assetTypes":["building"]`), 0},
		{user, "/api/devices", from("DEVICE", mine, ""), 0},
	} {
		var found []any
		c.who.Do("POST", c.path, c.body).Expect(200).JSON(&found)
		if len(found) != c.want {
			t.Errorf("%s %s finds %d, want %d", c.path, c.body, len(found), c.want)
		}
	}
	user.Do("POST", "/api/devices", from("ASSET", house, "")).ExpectError(403, 20)
	admin.Do("POST", "/api/devices", `{}`).ExpectError(400, 31)
}
