package httpapi_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// secret is part of everything the victim owns: whoever else sees it has seen too much.
const secret = "hushhush"

// victim is a tenant with one of everything.
type victim struct {
	admin *httpapitest.Client
	// ids by the name they have in paths.
	ids map[string]string
}

func newVictim(t *testing.T, p *httpapitest.Platform) victim {
	t.Helper()
	tenant, admin := p.Tenant(t, secret+" tenant", secret+"@example.org", "secret-1")
	ctx := t.Context()
	customer, err := p.Entities.Customers.Create(ctx, entity.Customer{Tenant: tenant, Title: secret + " customer"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Entities.Devices.Create(ctx, entity.Device{Tenant: tenant, Customer: customer.ID, Name: secret + " device", Type: secret + " profile"},
		&entity.Credentials{Type: entity.AccessToken, CredentialsID: secret + "token"})
	if err != nil {
		t.Fatal(err)
	}
	asset, err := p.Entities.Assets.Create(ctx, entity.Asset{Tenant: tenant, Customer: customer.ID, Name: secret + " asset", Type: secret + " kind"})
	if err != nil {
		t.Fatal(err)
	}
	raised, err := p.Alarms.CreateOrUpdate(ctx, alarm.Request{
		Tenant: tenant, Originator: d.ID.Entity(), Customer: customer.ID, Type: secret + " alarm", Severity: alarm.Critical,
	})
	if err != nil {
		t.Fatal(err)
	}
	related := relation.Relation{Key: relation.Key{From: asset.Entity(), To: d.ID.Entity(), Type: secret}}
	if _, err := p.Relations.Save(ctx, tenant, related); err != nil {
		t.Fatal(err)
	}
	node := ident.EntityID{Type: ident.RuleNode, ID: ident.New()}
	put(t, p, tenant, node, event.DebugRuleNode, event.RuleNodeBody{Type: "IN", Data: secret})
	put(t, p, tenant, d.ID.Entity(), event.DebugRuleNode, event.RuleNodeBody{Type: "IN", Data: secret})
	chain, err := p.Entities.RuleChains.RootChain(ctx, tenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range []storage.Scope{storage.Client, storage.Shared, storage.Server} {
		if err := p.Owner.SaveAttributes(ctx, tenant, d.ID.Entity(), scope, values(scope)); err != nil {
			t.Fatal(err)
		}
	}
	asked := rpc.Record{
		ID: ident.New(), Tenant: tenant, Device: d.ID, Method: secret, Params: `"` + secret + `"`, Persistent: true, Status: rpc.Queued,
		Created: 1, Expires: time.Now().Add(time.Hour).UnixMilli(), Retries: -1,
	}
	p.Requests.Keep(t, asked)
	v := victim{
		admin: p.Login(t, secret+"@example.org", "secret-1"),
		ids: map[string]string{
			"deviceId": d.ID.String(), "customerId": customer.ID.String(), "tenantId": tenant.String(), "userId": admin.ID.String(),
			"deviceProfileId": d.Profile.String(), "tenantProfileId": "", "DEVICE": d.ID.String(), "CUSTOMER": customer.ID.String(),
			"TENANT": tenant.String(), "USER": admin.ID.String(), "DEVICE_PROFILE": d.Profile.String(), "RULE_CHAIN": chain.ID.String(), "ruleChainId": chain.ID.String(),
			"ASSET": asset.ID.String(), "assetId": asset.ID.String(), "assetProfileId": asset.Profile.String(), "ASSET_PROFILE": asset.Profile.String(),
			"alarmId": raised.Now.ID.String(), "ALARM": raised.Now.ID.String(), "ruleNodeId": node.ID.String(), "RULE_NODE": node.ID.String(),
			"rpcId": asked.ID.String(), "deviceName": url.PathEscape(secret + " device"), "eventType": event.DebugRuleNode, "relationType": secret,
		},
	}
	profile, err := p.Entities.Tenants.DefaultProfile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v.ids["tenantProfileId"], v.ids["TENANT_PROFILE"] = profile.ID.String(), profile.ID.String()
	v.admin.Do("POST", "/api/plugins/telemetry/DEVICE/"+v.ids["deviceId"]+"/timeseries/ANY", `{"ts":5,"values":{"`+secret+`":1}}`).Expect(200)
	kept := complete(t, v.admin, "FIRMWARE", secret, v.ids["deviceProfileId"], []byte(secret))
	v.ids["otaPackageId"], v.ids["OTA_PACKAGE"], v.ids["otaPackageType"] = kept.ID.ID, kept.ID.ID, "FIRMWARE"
	return v
}

func values(scope storage.Scope) []telemetry.KeyValue {
	return []telemetry.KeyValue{{Key: secret + fmt.Sprint(scope), Value: telemetry.OfString(secret)}}
}

// world is all the victim sees of what is its own.
func (v victim) world(t *testing.T) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, path := range []string{
		"/api/tenant/" + v.ids["tenantId"], "/api/tenant/devices?pageSize=100&page=0", "/api/customers?pageSize=100&page=0",
		"/api/users?pageSize=100&page=0", "/api/deviceProfiles?pageSize=100&page=0", "/api/device/" + v.ids["deviceId"] + "/credentials",
		"/api/ruleChains?pageSize=100&page=0", "/api/ruleChain/" + v.ids["ruleChainId"] + "/metadata",
		"/api/tenant/assets?pageSize=100&page=0", "/api/assetProfiles?pageSize=100&page=0", "/api/alarms?pageSize=100&page=0",
		"/api/otaPackages?pageSize=100&page=0", "/api/otaPackage/" + v.ids["otaPackageId"] + "/download",
		"/api/relations?fromType=ASSET&fromId=" + v.ids["assetId"], "/api/ruleNode/" + v.ids["ruleNodeId"] + "/debugIn",
		"/api/events/DEVICE/" + v.ids["deviceId"] + "/DEBUG_RULE_NODE?pageSize=100&page=0&tenantId=" + v.ids["tenantId"],
		"/api/rpc/persistent/device/" + v.ids["deviceId"] + "?pageSize=100&page=0",
		"/api/plugins/telemetry/DEVICE/" + v.ids["deviceId"] + "/values/attributes",
		"/api/plugins/telemetry/DEVICE/" + v.ids["deviceId"] + "/values/timeseries?startTs=0&endTs=9&keys=" + secret,
	} {
		seen[path] = string(v.admin.Do("GET", path, nil).Expect(200).Body)
	}
	return seen
}

var parameter = regexp.MustCompile(`\{([A-Za-z]+)\}`)

// targets fills a route's path with the victim's ids: once, or once for each type of entity.
func (v victim) targets(t *testing.T, path string) []string {
	t.Helper()
	types := []string{""}
	if strings.Contains(path, "{entityType}") {
		types = []string{"DEVICE", "CUSTOMER", "TENANT", "USER", "DEVICE_PROFILE", "RULE_CHAIN", "TENANT_PROFILE", "ASSET", "ASSET_PROFILE", "RULE_NODE", "ALARM"}
	}
	var filled []string
	for _, kind := range types {
		target := parameter.ReplaceAllStringFunc(path, func(name string) string {
			switch name := name[1 : len(name)-1]; name {
			case "entityType":
				return kind
			case "entityId":
				if kind == "" {
					return v.ids["DEVICE"]
				}
				return v.ids[kind]
			case "scope":
				return "SHARED_SCOPE"
			case "any", "ttl":
				return "0"
			case "queueName":
				return "Main"
			case "queueId":
				return ident.Derive(ident.ID{}, "queue Main").String()
			case "componentType":
				return "FILTER"
			case "componentClass":
				return classes + "filter.TbMsgTypeSwitchNode"
			default:
				if v.ids[name] == "" {
					t.Fatalf("%s: nothing known to put in place of %s", path, name)
				}
				return v.ids[name]
			}
		})
		filled = append(filled, target+"?pageSize=100&page=0&sortOrder=ASC&keys="+secret+"&startTs=0&endTs=9&deleteAllDataForKeys=true"+
			"&deviceProfileId="+v.ids["deviceProfileId"]+"&fromType=ASSET&fromId="+v.ids["assetId"]+"&toType=DEVICE&toId="+v.ids["deviceId"]+"&relationType="+secret+"&entityType=DEVICE&entityId="+v.ids["deviceId"]+
			"&assetName="+secret+"%20asset&tenantId="+v.ids["tenantId"]+"&sendActivationMail=false&customerTitle="+secret+"%20customer&deviceName="+secret+"%20device&activateToken="+secret)
	}
	return filled
}

// bodies are what is sent to routes that name an entity in the body; others get bodyForAll.
func (v victim) bodies() map[string]string {
	ref := func(kind, name string) string { return fmt.Sprintf(`{"entityType":%q,"id":%q}`, kind, v.ids[name]) }
	search := `{"parameters":{"rootId":"` + v.ids["assetId"] + `","rootType":"ASSET","direction":"FROM"},"filters":[]}`
	return map[string]string{
		"/api/tenant":                  `{"id":` + ref("TENANT", "tenantId") + `,"title":"taken over"}`,
		"/api/tenantProfile":           `{"id":` + ref("TENANT_PROFILE", "tenantProfileId") + `,"name":"taken over"}`,
		"/api/user":                    `{"id":` + ref("USER", "userId") + `,"email":"taken@example.org","authority":"TENANT_ADMIN","tenantId":` + ref("TENANT", "tenantId") + `}`,
		"/api/customer":                `{"id":` + ref("CUSTOMER", "customerId") + `,"title":"taken over"}`,
		"/api/device":                  `{"id":` + ref("DEVICE", "deviceId") + `,"name":"taken over"}`,
		"/api/device-with-credentials": `{"device":{"id":` + ref("DEVICE", "deviceId") + `,"name":"taken over"},"credentials":{"credentialsType":"ACCESS_TOKEN","credentialsId":"taken"}}`,
		"/api/device/credentials":      `{"deviceId":` + ref("DEVICE", "deviceId") + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"taken"}`,
		"/api/ruleChain":               `{"id":` + ref("RULE_CHAIN", "ruleChainId") + `,"name":"taken over"}`,
		"/api/ruleChain/metadata":      `{"ruleChainId":` + ref("RULE_CHAIN", "ruleChainId") + `,"firstNodeIndex":null,"nodes":[],"connections":[]}`,
		"/api/asset":                   `{"id":` + ref("ASSET", "assetId") + `,"name":"taken over"}`,
		"/api/assetProfile":            `{"id":` + ref("ASSET_PROFILE", "assetProfileId") + `,"name":"taken over"}`,
		"/api/alarm":                   `{"originator":` + ref("DEVICE", "deviceId") + `,"type":"taken over","severity":"MAJOR"}`,
		"/api/relation":                `{"from":` + ref("ASSET", "assetId") + `,"to":` + ref("DEVICE", "deviceId") + `,"type":"taken over"}`,
		"/api/v2/relation":             `{"from":` + ref("DEVICE", "deviceId") + `,"to":` + ref("ASSET", "assetId") + `,"type":"taken over"}`,
		"/api/otaPackage":              packageOf("FIRMWARE", secret, "1.0", v.ids["deviceProfileId"], `,"additionalInfo":{"taken":"over"},"id":`+ref("OTA_PACKAGE", "otaPackageId")),
		"/api/devices":                 search,
		"/api/assets":                  search,
		"/api/relations":               search, "/api/relations/info": search,
		"/api/events/{entityType}/{entityId}":       `{"eventType":"DEBUG_RULE_NODE"}`,
		"/api/events/{entityType}/{entityId}/clear": `{"eventType":"DEBUG_RULE_NODE"}`,
		"/api/deviceProfile":                        `{"id":` + ref("DEVICE_PROFILE", "deviceProfileId") + `,"name":"taken over"}`,
	}
}

const bodyForAll = `{"taken":"over"}`

// ends are the routes a stranger may call for itself; they answer of the stranger, whatever is asked, so that they come last.
var ends = map[string]bool{"/api/auth/logout": true, "/api/auth/changePassword": true}

// harmless are the routes that need not refuse: their answer holds nothing of anybody else.
var harmless = regexp.MustCompile(`^/api/(auth/|noauth/|users|customers|devices|tenants/list|tenants|deviceProfiles|deviceProfileInfo/default|deviceProfileInfos|` +
	`components?|queues|otaPackages$|tenant/(devices|deviceInfos)|ruleChain/(testScript|tbelEnabled)|ruleChains|user/tokenAccessEnabled|deviceProfile/names|device/types|` +
	`assets|asset/types|tenant/(assets|assetInfos)|assetProfiles|assetProfile/names|assetProfileInfo/default|assetProfileInfos|alarms|v2/alarms|alarm/types|` +
	// Rule nodes' events lie with their tenant: a stranger finds and clears the own ones, of which there are none.
	`events/|ruleNode/)`)

// TestTenantsAreIsolated walks every route there is, as strangers who know all the victim's ids.
func TestTenantsAreIsolated(t *testing.T) {
	p := httpapitest.Start(t)
	v := newVictim(t, p)
	before := v.world(t)
	for name, stranger := range map[string]*httpapitest.Client{
		"administrator of another tenant": p.Admin(t), "customer's user of another tenant": p.Customer(t), "nobody": p.Anonymous(t),
	} {
		for _, route := range httpapi.Routes() {
			method, path := route[0], route[1]
			if ends[path] {
				continue
			}
			body := v.bodies()[path]
			if body == "" {
				body = bodyForAll
			}
			for _, target := range v.targets(t, path) {
				answer := stranger.Do(method, target, body)
				check(t, name+" calls "+method+" "+target, answer, path)
			}
		}
	}
	if diff := cmp.Diff(before, v.world(t)); diff != "" {
		t.Errorf("strangers changed the victim's world (-before +after):\n%s", diff)
	}
}

func check(t *testing.T, call string, answer httpapitest.Answer, path string) {
	t.Helper()
	if strings.Contains(string(answer.Body), secret) {
		t.Errorf("%s and reads the victim's data: %s", call, answer.Body)
	}
	if answer.Status >= 500 {
		t.Errorf("%s: status %d: %s", call, answer.Status, answer.Body)
	}
	if answer.Status < 300 && !harmless.MatchString(path) {
		t.Errorf("%s: status %d: %s", call, answer.Status, answer.Body)
	}
}

// TestListsByIDLeaveOutStrangers: ids of others are dropped silently (rest-api §1.7).
func TestListsByIDLeaveOutStrangers(t *testing.T) {
	p := httpapitest.Start(t)
	v := newVictim(t, p)
	own := p.Demo(t, "Test Device A1").ID.String()
	admin := p.Admin(t)
	for path, want := range map[string]int{
		"/api/devices?deviceIds=" + v.ids["deviceId"] + "," + own:                   1,
		"/api/devices/list?deviceIds=" + v.ids["deviceId"]:                          0,
		"/api/customers?customerIds=" + v.ids["customerId"]:                         0,
		"/api/assets?assetIds=" + v.ids["assetId"]:                                  0,
		"/api/assetProfileInfos?assetProfileIds=" + v.ids["assetProfileId"]:         0,
		"/api/users?userIds=" + v.ids["userId"]:                                     0,
		"/api/tenants?tenantIds=" + v.ids["tenantId"]:                               0,
		"/api/deviceProfileInfos?deviceProfileIds=" + v.ids["deviceProfileId"]:      0,
		"/api/deviceProfileInfos/list?deviceProfileIds=" + v.ids["deviceProfileId"]: 0,
	} {
		var got []any
		admin.Get(path, &got)
		if len(got) != want {
			t.Errorf("%s lists %d, want %d", path, len(got), want)
		}
	}
}

// TestForeignAnswers is the table of rest-api §1.7: another tenant's device is not found, its other entities are denied.
func TestForeignAnswers(t *testing.T) {
	p := httpapitest.Start(t)
	v := newVictim(t, p)
	admin, user, system := p.Admin(t), p.Customer(t), p.System(t)
	values := "/api/plugins/telemetry/"
	for _, c := range []struct {
		who    *httpapitest.Client
		path   string
		status int
		text   bool
	}{
		{admin, "/api/device/" + v.ids["deviceId"], 404, false},
		{admin, "/api/customer/" + v.ids["customerId"], 403, false},
		{admin, "/api/user/" + v.ids["userId"], 403, false},
		{admin, "/api/deviceProfile/" + v.ids["deviceProfileId"], 403, false},
		{admin, "/api/ruleChain/" + v.ids["ruleChainId"], 403, false},
		{admin, "/api/ruleChain/" + v.ids["ruleChainId"] + "/metadata", 403, false},
		{admin, "/api/ruleChain/" + ident.New().String(), 404, false},
		{user, "/api/ruleChain/" + p.Demo(t, "Test Device A1").ID.String(), 403, false},
		{admin, "/api/tenant/" + v.ids["tenantId"], 403, false},
		{admin, "/api/asset/" + v.ids["assetId"], 403, false},
		{admin, "/api/asset/info/" + v.ids["assetId"], 403, false},
		{admin, "/api/assetProfile/" + v.ids["assetProfileId"], 403, false},
		{admin, "/api/alarm/" + v.ids["alarmId"], 403, false},
		{admin, "/api/alarm/info/" + v.ids["alarmId"], 404, false},
		{admin, "/api/alarm/DEVICE/" + v.ids["deviceId"] + "?pageSize=1&page=0", 404, false},
		{admin, "/api/events/DEVICE/" + v.ids["deviceId"] + "?pageSize=1&page=0", 404, false},
		{admin, values + "ASSET/" + v.ids["assetId"] + "/values/timeseries", 403, true},
		{admin, "/api/otaPackage/info/" + v.ids["otaPackageId"], 403, false},
		{admin, "/api/otaPackage/" + v.ids["otaPackageId"], 403, false},
		{admin, "/api/otaPackage/" + v.ids["otaPackageId"] + "/download", 403, false},
		{admin, "/api/otaPackages/" + v.ids["deviceProfileId"] + "/FIRMWARE?pageSize=1&page=0", 403, false},
		{admin, "/api/devices/count/FIRMWARE/" + v.ids["deviceProfileId"], 403, false},
		{user, "/api/otaPackage/info/" + v.ids["otaPackageId"], 403, false},
		{admin, "/api/otaPackage/info/" + ident.New().String(), 404, false},
		{admin, "/api/device/" + ident.New().String(), 404, false},
		{admin, "/api/customer/" + ident.New().String(), 404, false},
		{admin, "/api/user/" + ident.New().String(), 404, false},
		{admin, values + "DEVICE/" + v.ids["deviceId"] + "/values/timeseries", 404, true},
		{admin, values + "DEVICE/" + v.ids["deviceId"] + "/values/timeseries?keys=x&startTs=0&endTs=9", 404, true},
		{admin, values + "CUSTOMER/" + v.ids["customerId"] + "/values/timeseries", 403, true},
		{user, "/api/device/" + v.ids["deviceId"], 404, false},
		{user, "/api/device/" + p.Demo(t, "Test Device B1").ID.String(), 403, false},
		{system, "/api/device/" + v.ids["deviceId"], 403, false},
		{system, values + "DEVICE/" + v.ids["deviceId"] + "/values/timeseries", 403, true},
		{system, values + "TENANT/" + v.ids["tenantId"] + "/values/timeseries", 200, false},
		{system, "/api/user/" + v.ids["userId"], 200, false},
	} {
		answer := c.who.Do("GET", c.path, nil)
		switch {
		case c.status == 200:
			answer.Expect(200)
		case c.text:
			answer.ExpectText(c.status)
		default:
			answer.ExpectError(c.status, map[int]int{403: 20, 404: 32}[c.status])
		}
	}
}
