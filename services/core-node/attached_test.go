package corenode

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
)

// person calls the service's handler as a logged-in user.
func (n *node) person(t *testing.T, email, password string) func(method, path, body string, into any) {
	t.Helper()
	token := ""
	call := func(method, path, body string, into any) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("X-Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	var pair struct{ Token string }
	call("POST", "/api/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, email, password), &pair)
	token = pair.Token
	return call
}

// TestWhatPeopleDoReachesTheChain: what is done over REST goes through tb.core into the originator's chain, and what the chain's
// nodes were given is shown over REST again.
func TestWhatPeopleDoReachesTheChain(t *testing.T) {
	n := start(t, nil)
	call := n.person(t, "tenant@thingsboard.org", "tenant")
	chain := n.root(t, alone(`{"type":"org.thingsboard.rule.engine.filter.TbMsgTypeSwitchNode","name":"all","debugMode":true,"configuration":{}}`))
	var graph struct {
		Nodes []struct{ ID struct{ ID string } }
	}
	call("GET", "/api/ruleChain/"+chain.String()+"/metadata", "", &graph)
	node := graph.Nodes[0].ID.ID

	var house, alarm struct{ ID struct{ ID string } }
	call("POST", "/api/asset", `{"name":"House"}`, &house)
	ends := fmt.Sprintf(`"from":{"entityType":"ASSET","id":%q},"to":{"entityType":"DEVICE","id":%q}`, house.ID.ID, n.device.ID)
	call("POST", "/api/relation", `{`+ends+`,"type":"Contains"}`, nil)
	call("POST", "/api/alarm", fmt.Sprintf(`{"originator":{"entityType":"DEVICE","id":%q},"type":"High","severity":"MAJOR"}`, n.device.ID), &alarm)
	call("POST", "/api/alarm/"+alarm.ID.ID+"/ack", "", nil)
	call("POST", "/api/alarm/"+alarm.ID.ID+"/clear", "", nil)
	call("DELETE", "/api/asset/"+house.ID.ID, "", nil)

	want := []string{
		"ASSET ENTITY_CREATED", "ASSET ENTITY_DELETED", "ASSET RELATION_ADD_OR_UPDATE",
		"DEVICE ALARM_ACK", "DEVICE ALARM_CLEAR", "DEVICE RELATION_ADD_OR_UPDATE",
	}
	var got []string
	eventually(t, "every message in the chain", func() bool {
		var page struct {
			Data []struct{ Body event.RuleNodeBody }
		}
		call("POST", "/api/events/RULE_NODE/"+node+"?pageSize=100&page=0&tenantId="+n.device.Tenant.String(), `{"eventType":"DEBUG_RULE_NODE","msgDirectionType":"IN"}`, &page)
		got = nil
		for _, one := range page.Data {
			if !strings.Contains(one.Body.Metadata, `"userEmail":"tenant@thingsboard.org"`) {
				continue // of the installation
			}
			got = append(got, one.Body.EntityType+" "+one.Body.MsgType)
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
	var last event.RuleNodeBody
	call("GET", "/api/ruleNode/"+node+"/debugIn", "", &last)
	if last.MsgType == "" || last.Type != "IN" {
		t.Errorf("the last input is %+v", last)
	}
	if _, err := ident.Parse(last.EntityID); err != nil {
		t.Error(err)
	}
}
