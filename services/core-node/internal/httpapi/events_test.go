package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

// put stores events of a device's or rule node's, and waits for it.
func put(t *testing.T, p *httpapitest.Platform, tenant ident.TenantID, e ident.EntityID, kind string, bodies ...any) {
	t.Helper()
	w := event.NewWriter(event.Options{Rows: p.Store})
	ctx, cancel := context.WithCancel(t.Context())
	for _, body := range bodies {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		w.Put(event.Event{Tenant: tenant, Entity: e, Type: kind, Body: text})
	}
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

type eventPage struct {
	Data []struct {
		ID          struct{ ID string }
		UID, Type   string
		CreatedTime int64
		TenantID    struct{ ID string }
		EntityID    struct{ EntityType, ID string }
		Body        map[string]any
	}
	TotalElements int
}

func TestEventsThroughTheDoor(t *testing.T) {
	p := httpapitest.Start(t)
	admin, user := p.Admin(t), p.Customer(t)
	d := p.Demo(t, "Test Device A1")
	node := ident.EntityID{Type: ident.RuleNode, ID: ident.New()}
	put(t, p, d.Tenant, node, event.DebugRuleNode,
		event.RuleNodeBody{Server: "n", Type: "IN", EntityID: d.ID.String(), EntityType: "DEVICE", MsgID: "m", MsgType: "T", DataType: "JSON", Data: `{"a":1}`, Metadata: "{}"},
		event.RuleNodeBody{Server: "n", Type: "OUT", EntityID: d.ID.String(), EntityType: "DEVICE", MsgID: "m", MsgType: "T", DataType: "JSON", RelationType: "Failure", Data: `{"a":2}`, Metadata: "{}", Error: "no"})
	put(t, p, d.Tenant, d.ID.Entity(), event.Lifecycle, event.LifecycleBody{Server: "n", Event: "STARTED", Success: true})
	of := func(e ident.EntityID) string { return "/api/events/" + e.Type.String() + "/" + e.ID.String() }
	ask := "?tenantId=" + d.Tenant.String() + "&pageSize=10&page=0"
	var page eventPage
	admin.Get(of(node)+"/DEBUG_RULE_NODE"+ask, &page)
	if page.TotalElements != 2 || page.Data[0].Type != "DEBUG_RULE_NODE" || page.Data[0].UID != page.Data[0].ID.ID || page.Data[0].EntityID.ID != node.ID.String() {
		t.Errorf("events: %+v", page)
	}
	for filter, want := range map[string]int{
		`{"eventType":"DEBUG_RULE_NODE"}`: 2, `{"eventType":"DEBUG_RULE_NODE","msgDirectionType":"IN"}`: 1,
		`{"eventType":"DEBUG_RULE_NODE","isError":true,"errorStr":"NO"}`: 1, `{"eventType":"ERROR"}`: 0,
	} {
		admin.Do("POST", of(node)+ask, filter).Expect(200).JSON(&page)
		if page.TotalElements != want {
			t.Errorf("%s finds %d, want %d", filter, page.TotalElements, want)
		}
	}
	if body := admin.Do("GET", "/api/ruleNode/"+node.ID.String()+"/debugIn", nil).Expect(200); !json.Valid(body.Body) {
		t.Errorf("the last input is %s", body.Body)
	} else {
		var in map[string]any
		body.JSON(&in)
		if in["data"] != `{"a":1}` || in["type"] != "IN" {
			t.Errorf("the last input is %s", body.Body)
		}
	}
	if body := admin.Do("GET", "/api/ruleNode/"+ident.New().String()+"/debugIn", nil).Expect(200).Body; string(body) != "null" {
		t.Errorf("the last input of no node is %s", body)
	}
	user.Get(of(d.ID.Entity())+ask, &page)
	if page.TotalElements != 1 || page.Data[0].Body["event"] != "STARTED" {
		t.Errorf("a device's events: %+v", page)
	}
	user.Do("GET", of(p.Demo(t, "Test Device B1").ID.Entity())+ask, nil).ExpectError(403, 20)
	user.Do("GET", of(node)+ask, nil).ExpectError(403, 20)
	admin.Do("GET", of(node)+"/NONSENSE"+ask, nil).ExpectError(400, 31)
	admin.Do("GET", of(node)+"?pageSize=10&page=0", nil).ExpectError(400, 31)
	admin.Do("GET", of(node)+"/ERROR?pageSize=10&page=0&tenantId="+ident.New().String(), nil).ExpectError(403, 20)
	admin.Do("POST", of(node)+ask, `{"eventType":"X"}`).ExpectError(400, 31)
	admin.Do("POST", of(node)+"/clear", `{"eventType":"DEBUG_RULE_NODE","msgDirectionType":"OUT"}`).Expect(200)
	admin.Get(of(node)+"/DEBUG_RULE_NODE"+ask, &page)
	if page.TotalElements != 1 {
		t.Errorf("%d left, want 1", page.TotalElements)
	}
	admin.Do("POST", of(node)+fmt.Sprintf("/clear?startTime=%d", 1), `{"eventType":"DEBUG_RULE_NODE"}`).Expect(200)
	admin.Get(of(node)+"/DEBUG_RULE_NODE"+ask, &page)
	if page.TotalElements != 0 {
		t.Errorf("%d left, want none", page.TotalElements)
	}
}
