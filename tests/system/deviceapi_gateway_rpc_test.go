package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

const gatewayRPC = "v1/gateway/rpc"

// gatewayRequests are the cases of requests to devices behind gateways.
func gatewayRequests(t *testing.T, a *deviceAPI) {
	t.Run("G11 request and reply", func(t *testing.T) {
		g := a.gateway(t, mqtt5)
		g.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		g.connected(t, "A", true)
		answer := g.ask(t, "A")
		g.reply(t, "m", `{"ok":true}`)
		if got := <-answer; got != `{"ok":true}` {
			t.Errorf("REST answered %s", got)
		}
	})
	t.Run("G19 the newest gateway gets the requests", func(t *testing.T) {
		first, second := a.gateway(t, mqtt5), a.gateway(t, mqtt5)
		second.suffix = first.suffix
		first.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		first.connected(t, "A", true)
		second.acknowledged(gatewayConnect, `{"device":"A"}`, 0)
		a.eventually(t, func() error {
			if d := first.found(t, "A"); d.AdditionalInfo["lastConnectedGateway"] != second.id {
				return fmt.Errorf("last behind %v", d.AdditionalInfo)
			}
			return nil
		})
		answer := second.ask(t, "A")
		second.reply(t, "m", `{"ok":2}`)
		if got := <-answer; got != `{"ok":2}` {
			t.Errorf("REST answered %s", got)
		}
		first.silent()
		first.ping()
	})
}

// ask sends a request to a device by REST and returns what will answer it.
func (g *gatewayScene) ask(t *testing.T, name string) <-chan string {
	t.Helper()
	id := g.found(t, name).ID.ID
	answer := make(chan string, 1)
	ctx := t.Context()
	go func() {
		var text string
		if err := g.tenant.call(ctx, http.MethodPost, "/api/rpc/twoway/"+id, map[string]any{
			"method": "m", "params": map[string]any{"p": 1}, "timeout": 10000,
		}, &text); err != nil {
			text = err.Error()
		}
		answer <- text
	}()
	return answer
}

// reply receives the request that ask sent and answers it.
func (g *gatewayScene) reply(t *testing.T, method, data string) {
	t.Helper()
	var request struct {
		Device string
		Data   struct {
			ID     int
			Method string
			Params json.RawMessage
		}
	}
	p := g.message(gatewayRPC)
	if err := json.Unmarshal(p.payload, &request); err != nil {
		t.Fatal(err)
	}
	if request.Device != g.real("A") || request.Data.Method != method || string(request.Data.Params) != `{"p":1}` {
		t.Errorf("request %s", p.payload)
	}
	g.acknowledged(gatewayRPC, fmt.Sprintf(`{"device":"A","id":%d,"data":%s}`, request.Data.ID, data), 0)
}
