package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

type relationAnswer struct {
	From, To         struct{ EntityType, ID string }
	Type, TypeGroup  string
	AdditionalInfo   any
	Version          int
	FromName, ToName string
}

func newAsset(c *httpapitest.Client, name string) (id string) {
	var a struct{ ID struct{ ID string } }
	c.Do("POST", "/api/asset", map[string]string{"name": name}).Expect(200).JSON(&a)
	return a.ID.ID
}

func relationBody(fromType, from, toType, to, kind string) string {
	return fmt.Sprintf(`{"from":{"entityType":%q,"id":%q},"to":{"entityType":%q,"id":%q},"type":%q}`, fromType, from, toType, to, kind)
}

// TestRelationLives is case 82 of rest-api §7.
func TestRelationLives(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	asset, device := newAsset(admin, "House"), p.Demo(t, "Test Device A1").ID.String()
	p.Changes.Take()
	if body := admin.Do("POST", "/api/relation", relationBody("ASSET", asset, "DEVICE", device, "Contains")).Expect(200).Body; len(body) != 0 {
		t.Errorf("saved: %s", body)
	}
	var saved relationAnswer
	admin.Do("POST", "/api/v2/relation", relationBody("ASSET", asset, "DEVICE", device, "Contains")).Expect(200).JSON(&saved)
	if saved.Version != 2 || saved.TypeGroup != "COMMON" || saved.From.ID != asset || saved.To.EntityType != "DEVICE" {
		t.Errorf("saved %+v", saved)
	}
	admin.Do("POST", "/api/relation", relationBody("ASSET", asset, "DEVICE", device, "Manages")).Expect(200)
	from, to := "fromId="+asset+"&fromType=ASSET", "toId="+device+"&toType=DEVICE"
	for path, want := range map[string]int{
		"/api/relations?" + from:                             2,
		"/api/relations?" + from + "&relationType=Contains":  1,
		"/api/relations?" + from + "&relationTypeGroup=EDGE": 0,
		"/api/relations?" + to:                               2,
		"/api/relations?" + to + "&relationType=Manages":     1,
		"/api/relations/from/ASSET/" + asset:                 2,
		"/api/relations/from/ASSET/" + asset + "/Contains":   1,
		"/api/relations/to/DEVICE/" + device:                 2,
		"/api/relations/to/DEVICE/" + device + "/Knows":      0,
		"/api/relations/info?" + from:                        2,
		"/api/relations/info?" + to:                          2,
		"/api/relations/info/from/ASSET/" + asset:            2,
		"/api/relations/info/to/DEVICE/" + device:            2,
		"/api/relations/from/DEVICE/" + device:               0,
	} {
		var found []relationAnswer
		admin.Get(path, &found)
		if len(found) != want {
			t.Errorf("%s finds %d, want %d", path, len(found), want)
		}
	}
	var infos []relationAnswer
	admin.Get("/api/relations/info?"+from+"&relationType=Contains", &infos)
	if infos[0].FromName != "House" || infos[0].ToName != "Test Device A1" || infos[0].Version != 2 {
		t.Errorf("info: %+v", infos)
	}
	one := "?" + from + "&" + to + "&relationType=Contains&relationTypeGroup=COMMON"
	admin.Do("GET", "/api/relation"+one, nil).Expect(200).JSON(&saved)
	if body := admin.Do("DELETE", "/api/relation"+one, nil).Expect(200).Body; len(body) != 0 {
		t.Errorf("deleted: %s", body)
	}
	admin.Do("GET", "/api/relation"+one, nil).ExpectError(404, 32)
	admin.Do("DELETE", "/api/v2/relation"+one, nil).ExpectError(404, 32)
	admin.Do("DELETE", "/api/relations?entityId="+device+"&entityType=DEVICE", nil).Expect(200)
	var left []relationAnswer
	admin.Get("/api/relations?"+from, &left)
	if len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	want := []string{
		"ASSET RELATION_ADD_OR_UPDATE", "DEVICE RELATION_ADD_OR_UPDATE", "ASSET RELATION_ADD_OR_UPDATE", "DEVICE RELATION_ADD_OR_UPDATE",
		"ASSET RELATION_ADD_OR_UPDATE", "DEVICE RELATION_ADD_OR_UPDATE", "ASSET RELATION_DELETED", "DEVICE RELATION_DELETED", "DEVICE RELATIONS_DELETED",
	}
	if diff := cmp.Diff(want, kinds(p)); diff != "" {
		t.Errorf("rule chains are told (-want +got):\n%s", diff)
	}
}

func TestRelationSearch(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	house, room := newAsset(admin, "House"), newAsset(admin, "Room")
	device := p.Demo(t, "Test Device A1").ID.String()
	admin.Do("POST", "/api/relation", relationBody("ASSET", house, "ASSET", room, "Contains")).Expect(200)
	admin.Do("POST", "/api/relation", relationBody("ASSET", room, "DEVICE", device, "Contains")).Expect(200)
	search := func(parameters, filters string) string {
		return `{"parameters":{"rootId":"` + house + `","rootType":"ASSET","direction":"FROM","relationTypeGroup":"COMMON"` + parameters + `},"filters":[` + filters + `]}`
	}
	for body, want := range map[string]int{
		search("", ""):              2,
		search(`,"maxLevel":1`, ""): 1,
		search("", `{"relationType":"Contains","entityTypes":["DEVICE"]}`):                              1,
		search("", `{"relationType":"Contains","entityTypes":[],"negate":true}`):                        0,
		search(`,"maxLevel":2,"fetchLastLevelOnly":true`, `{"relationType":"Contains"}`):                1,
		search(`,"maxLevel":0`, `{"relationType":"Knows"},{"relationType":"","entityTypes":["ASSET"]}`): 1,
	} {
		for _, path := range []string{"/api/relations", "/api/relations/info"} {
			var found []relationAnswer
			admin.Do("POST", path, body).Expect(200).JSON(&found)
			if len(found) != want {
				t.Errorf("%s finds %d, want %d: %+v", body, len(found), want, found)
			}
		}
	}
	for _, body := range []string{
		`{}`, `{"parameters":{"rootId":"x","rootType":"ASSET"}}`, `{"parameters":{"rootId":"` + house + `","rootType":"HOUSE"}}`,
		search(`,"direction":"SIDEWAYS"`, ""), search("", `{"entityTypes":["HOUSE"]}`),
	} {
		admin.Do("POST", "/api/relations", body).ExpectError(400, 31)
	}
}

// TestRelationsWithStrangers is case 35 of rest-api §7, and what customers' users may.
func TestRelationsWithStrangers(t *testing.T) {
	p := httpapitest.Start(t)
	v := newVictim(t, p)
	admin, user := p.Admin(t), p.Customer(t)
	own, others := p.Demo(t, "Test Device A1").ID.String(), p.Demo(t, "Test Device B1").ID.String()
	asset := newAsset(admin, "House")
	for name, c := range map[string]struct {
		who          *httpapitest.Client
		body         string
		status, code int
	}{
		"another tenant's device": {admin, relationBody("DEVICE", own, "DEVICE", v.ids["DEVICE"], "Contains"), 404, 32},
		"another tenant's asset":  {admin, relationBody("DEVICE", own, "ASSET", v.ids["ASSET"], "Contains"), 403, 20},
		"another tenant":          {admin, relationBody("TENANT", v.ids["TENANT"], "DEVICE", own, "Contains"), 403, 20},
		"another customer's":      {user, relationBody("DEVICE", own, "DEVICE", others, "Contains"), 403, 20},
		"one end only":            {admin, `{"from":{"entityType":"DEVICE","id":"` + own + `"},"type":"Contains"}`, 400, 31},
		"no type":                 {admin, relationBody("ASSET", asset, "DEVICE", own, ""), 400, 31},
		"bad entity type":         {admin, relationBody("HOUSE", asset, "DEVICE", own, "Contains"), 400, 31},
		"bad id":                  {admin, relationBody("ASSET", "x", "DEVICE", own, "Contains"), 400, 31},
	} {
		t.Log(name)
		c.who.Do("POST", "/api/relation", c.body).ExpectError(c.status, c.code)
	}
	admin.Do("POST", "/api/relation", relationBody("DEVICE", own, "DEVICE", others, "Contains")).Expect(200)
	admin.Do("POST", "/api/relation", relationBody("DEVICE", own, "DEVICE", p.Demo(t, "Test Device A2").ID.String(), "Contains")).Expect(200)
	var me struct{ TenantID struct{ ID string } }
	admin.Get("/api/auth/user", &me)
	admin.Do("POST", "/api/relation", relationBody("TENANT", me.TenantID.ID, "DEVICE", own, "Contains")).Expect(200)
	for who, want := range map[*httpapitest.Client]int{admin: 2, user: 1} {
		var found []relationAnswer
		who.Get("/api/relations?fromType=DEVICE&fromId="+own, &found)
		if len(found) != want {
			t.Errorf("sees %d, want %d: %+v", len(found), want, found)
		}
	}
	admin.Do("DELETE", "/api/device/"+own, nil).Expect(200)
	var found []relationAnswer
	admin.Get("/api/relations?toType=DEVICE&toId="+others, &found)
	if len(found) != 0 {
		t.Errorf("relations of a deleted device: %+v", found)
	}
	admin.Do("GET", "/api/relations", nil).ExpectError(400, 31)
	admin.Do("GET", "/api/relations?fromType=DEVICE&fromId="+ident.New().String(), nil).ExpectError(404, 32)
}
