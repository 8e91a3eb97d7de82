package httpapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

type assetAnswer struct {
	ID, CustomerID, AssetProfileID struct{ ID string }
	Name, Type, Label              string
	Version                        int
	CustomerTitle                  string
	AssetProfileName               string
}

type assetPage struct {
	Data          []assetAnswer
	TotalElements int
}

func TestAssetsThroughTheDoor(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	p.Changes.Take()
	var a assetAnswer
	admin.Do("POST", "/api/asset", `{"name":"House","type":"building","label":"Ours","additionalInfo":{"description":"d"}}`).Expect(200).JSON(&a)
	if a.Type != "building" || a.Version != 1 || a.CustomerID.ID != "13814000-1dd2-11b2-8080-808080808080" {
		t.Errorf("created %+v", a)
	}
	admin.Do("POST", "/api/asset", `{"name":"House"}`).ExpectError(400, 31)
	var second assetAnswer
	admin.Do("POST", "/api/asset?nameConflictPolicy=UNIQUIFY&uniquifyStrategy=INCREMENTAL", `{"name":"House"}`).Expect(200).JSON(&second)
	if second.Name != "House_1" || second.Type != "default" {
		t.Errorf("a second one: %+v", second)
	}
	path := "/api/asset/" + a.ID.ID
	villa := `{"id":{"entityType":"ASSET","id":"` + a.ID.ID + `"},"name":"Villa","type":"building","version":1}`
	a = assetAnswer{}
	admin.Do("POST", "/api/asset", villa).Expect(200).JSON(&a)
	if a.Name != "Villa" || a.Version != 2 || a.Label != "" {
		t.Errorf("updated %+v", a)
	}
	admin.Do("POST", "/api/asset", `{"id":{"entityType":"ASSET","id":"`+a.ID.ID+`"},"name":"Old","version":1}`).ExpectError(409, 35)
	user.Do("GET", path, nil).ExpectError(403, 20)
	user.Do("POST", "/api/asset", `{"name":"Mine"}`).ExpectError(403, 20)
	var customers struct {
		Data []struct{ ID struct{ ID string } }
	}
	admin.Get("/api/customers?pageSize=1&page=0&textSearch=Customer%20A", &customers)
	customer := customers.Data[0].ID.ID
	admin.Do("POST", "/api/customer/"+customer+"/asset/"+a.ID.ID, nil).Expect(200)
	var info assetAnswer
	user.Get("/api/asset/info/"+a.ID.ID, &info)
	if info.CustomerTitle != "Customer A" || info.AssetProfileName != "building" {
		t.Errorf("info: %+v", info)
	}
	for path, want := range map[string]int{
		"/api/tenant/assets?pageSize=10&page=0":                                           2,
		"/api/tenant/assets?pageSize=10&page=0&type=building":                             1,
		"/api/tenant/assets?pageSize=10&page=0&textSearch=BUILD":                          1,
		"/api/tenant/assetInfos?pageSize=10&page=0":                                       2,
		"/api/tenant/assetInfos?pageSize=10&page=0&assetProfileId=" + a.AssetProfileID.ID: 1,
		"/api/customer/" + customer + "/assets?pageSize=10&page=0":                        1,
		"/api/customer/" + customer + "/assetInfos?pageSize=10&page=0":                    1,
	} {
		var page assetPage
		admin.Get(path, &page)
		if page.TotalElements != want || len(page.Data) != want {
			t.Errorf("%s finds %d, want %d", path, page.TotalElements, want)
		}
	}
	for path, want := range map[string]int{"/api/assets?assetIds=": 1, "/api/assets/list?assetIds=": 1} {
		var list []assetAnswer
		user.Get(path+a.ID.ID+","+second.ID.ID, &list)
		if len(list) != want {
			t.Errorf("%s lists %d, want %d", path, len(list), want)
		}
	}
	admin.Get("/api/tenant/assets?assetName=Villa", &info)
	admin.Get("/api/tenant/asset?assetName=Villa", &info)
	admin.Do("GET", "/api/tenant/asset?assetName=None", nil).ExpectError(404, 32)
	var types []struct{ Type, EntityType string }
	admin.Get("/api/asset/types", &types)
	if len(types) != 2 || types[0].Type != "building" || types[0].EntityType != "ASSET" {
		t.Errorf("types: %+v", types)
	}
	user.Do("POST", "/api/plugins/telemetry/ASSET/"+a.ID.ID+"/attributes/SERVER_SCOPE", `{"floors":2}`).Expect(200)
	user.Do("DELETE", path, nil).ExpectError(403, 20)
	admin.Do("DELETE", "/api/customer/asset/"+a.ID.ID, nil).Expect(200)
	admin.Do("DELETE", path, nil).Expect(200)
	admin.Do("DELETE", path, nil).ExpectError(404, 32)
	want := []string{
		"ASSET ENTITY_CREATED", "ASSET ENTITY_CREATED", "ASSET ENTITY_UPDATED", "ASSET ENTITY_ASSIGNED", "ASSET ENTITY_UNASSIGNED", "ASSET ENTITY_DELETED",
	}
	if diff := cmp.Diff(want, kinds(p)); diff != "" {
		t.Errorf("rule chains are told (-want +got):\n%s", diff)
	}
}

type assetProfileAnswer struct {
	ID                struct{ ID string }
	Name, Description string
	Default           bool
	Version           int
}

func TestAssetProfilesThroughTheDoor(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	var first, x assetProfileAnswer
	user.Get("/api/assetProfileInfo/default", &first)
	if first.Name != "default" {
		t.Errorf("the default is %+v", first)
	}
	admin.Do("POST", "/api/assetProfile", `{"name":"building","description":"where people live"}`).Expect(200).JSON(&x)
	if x.Description != "where people live" || x.Version != 1 || x.Default {
		t.Errorf("created %+v", x)
	}
	admin.Do("POST", "/api/assetProfile", `{"name":"building"}`).ExpectError(400, 31)
	admin.Do("POST", "/api/asset", `{"name":"House","type":"building"}`).Expect(200)
	path := "/api/assetProfile/" + x.ID.ID
	admin.Do("DELETE", path, nil).ExpectError(400, 31)
	user.Do("GET", path, nil).ExpectError(403, 20)
	user.Do("GET", "/api/assetProfileInfo/"+x.ID.ID, nil).Expect(200)
	admin.Do("POST", path+"/default", nil).Expect(200).JSON(&x)
	if !x.Default {
		t.Errorf("made the default: %+v", x)
	}
	admin.Do("POST", "/api/assetProfile", `{"id":{"entityType":"ASSET_PROFILE","id":"`+x.ID.ID+`"},"name":"property"}`).Expect(200).JSON(&x)
	var a assetAnswer
	admin.Get("/api/tenant/asset?assetName=House", &a)
	if a.Type != "property" || !x.Default {
		t.Errorf("after it was renamed: %+v, %+v", x, a)
	}
	for path, want := range map[string]int{"/api/assetProfiles?pageSize=10&page=0": 2, "/api/assetProfileInfos?pageSize=10&page=0&textSearch=PROP": 1} {
		var page struct {
			Data          []assetProfileAnswer
			TotalElements int
		}
		admin.Get(path, &page)
		if page.TotalElements != want {
			t.Errorf("%s finds %d, want %d", path, page.TotalElements, want)
		}
	}
	for path, want := range map[string]int{
		"/api/assetProfileInfos?assetProfileIds=" + x.ID.ID: 1, "/api/assetProfileInfos/list?assetProfileIds=" + x.ID.ID + "," + first.ID.ID: 2,
		"/api/assetProfile/names": 2, "/api/assetProfile/names?activeOnly=true": 1, "/api/deviceProfile/names": 2,
	} {
		var list []assetProfileAnswer
		admin.Get(path, &list)
		if len(list) != want {
			t.Errorf("%s lists %d, want %d", path, len(list), want)
		}
	}
	admin.Do("DELETE", "/api/assetProfile/"+first.ID.ID, nil).Expect(200)
	admin.Do("DELETE", path, nil).ExpectError(400, 31)
}
