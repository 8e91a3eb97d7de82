package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
)

func TestRPCAnswers(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	device := p.Demo(t, "Test Device A1").ID.String()
	for _, c := range []struct {
		name    string
		outcome rpc.Outcome
		err     error
		v2, v1  int
		body    string // of a two-way request that succeeds
	}{
		{name: "M60 an object", outcome: rpc.Outcome{Payload: `{"ok":1}`}, v2: 200, v1: 200, body: `{"ok":1}`},
		{name: "a number", outcome: rpc.Outcome{Payload: `7`}, v2: 200, v1: 200, body: `7`},
		{name: "M61 nothing", v2: 200, v1: 200},
		{name: "M61 no JSON", outcome: rpc.Outcome{Payload: `not json`}, v2: 406, v1: 406},
		{name: "M62 no reply", outcome: rpc.Outcome{Error: rpc.Timeout}, v2: 504, v1: 408},
		{name: "no connection", outcome: rpc.Outcome{Error: rpc.NoConnection}, v2: 504, v1: 409},
		{name: "too many", err: fault.New(fault.Limited, "100 requests to the device are pending"), v2: 429, v1: 429},
		{name: "the device is gone", err: rpc.Gone(), v2: 404, v1: 404},
		{name: "no owner", err: fault.New(fault.Unavailable, "away"), v2: 503, v1: 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.Requests.Answer(c.outcome, c.err)
			for path, want := range map[string]int{"/api/rpc/twoway/": c.v2, "/api/plugins/rpc/twoway/": c.v1} {
				answer := admin.Do("POST", path+device, `{"method":"m","params":{"p":1}}`).Expect(want)
				if want == 200 && string(answer.Body) != c.body || want > 400 && want < 429 && want != 404 && len(answer.Body) > 0 || want == 504 && len(answer.Body) > 0 {
					t.Errorf("%s answers %q", path, answer.Body)
				}
			}
			one := c.v2
			if one == 406 {
				one = 200 // whatever it is, nobody asked for it
			}
			if answer := admin.Do("POST", "/api/rpc/oneway/"+device, `{"method":"m"}`).Expect(one); one == 200 && len(answer.Body) > 0 {
				t.Errorf("M63 answers %q", answer.Body)
			}
		})
	}
}

func TestRPCIsSentAsAsked(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	device := p.Demo(t, "Test Device A1").ID.String()
	const uuid = "01890a5d-ac96-774b-bcce-b302099a8057"
	for _, c := range []struct {
		body, params, info string
		wait               time.Duration
		retries            int32
		persistent         bool
	}{
		{body: `{"method":"m","params":{ "p" : [1, 2.50] }}`, params: `{"p":[1,2.50]}`, wait: 10 * time.Second, retries: -1},
		{body: `{"method":"m","timeout":1}`, params: `null`, wait: 5 * time.Second, retries: -1},
		{body: `{"method":"m","params":"on","timeout":20000}`, params: `"on"`, wait: 20 * time.Second, retries: -1},
		{body: `{"method":"m","params":true,"persistent":true,"retries":0,"additionalInfo":{"a": 1}}`, params: `true`, wait: 10 * time.Second, info: `{"a":1}`, persistent: true},
		{body: fmt.Sprintf(`{"method":"m","expirationTime":%d,"requestUUID":%q}`, time.Now().Add(time.Minute).UnixMilli(), uuid), params: `null`, wait: time.Minute, retries: -1},
	} {
		before := time.Now()
		admin.Do("POST", "/api/rpc/twoway/"+device, c.body).Expect(200)
		sent := p.Requests.Sent()
		s := sent[len(sent)-1]
		got := []any{s.GetMethod(), s.GetParams(), s.GetAdditionalInfo(), s.GetRetries(), s.GetPersistent(), s.GetOneWay(), s.GetUserName()}
		if diff := cmp.Diff([]any{"m", c.params, c.info, c.retries, c.persistent, false, "tenant@thingsboard.org"}, got); diff != "" {
			t.Errorf("%s: %s", c.body, diff)
		}
		if wait := time.UnixMilli(s.GetExpiresAtMs()).Sub(before); wait < c.wait-time.Second || wait > c.wait+5*time.Second {
			t.Errorf("%s expires in %v, want %v", c.body, wait, c.wait)
		}
		if strings.Contains(c.body, uuid) && ident.ID(s.GetRpcId()).String() != uuid {
			t.Errorf("%s has the id %x", c.body, s.GetRpcId())
		}
	}
}

func TestRPCIsRefused(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	device := p.Demo(t, "Test Device A1").ID.String()
	for body, field := range map[string]string{
		`{"params":1}`: "method: ", `{"method":" "}`: "method: ", `{"method":"m","retries":-1}`: "retries: ", `{"method":"m","requestUUID":"x"}`: "requestUUID: ",
		`{"method":"m","expirationTime":1}`: "expirationTime: ", `{"method":"m","timeout":99999999999}`: "timeout: ",
		`{"method":"m","params":"` + strings.Repeat("a", 65536) + `"}`: "method, params and additionalInfo: ",
	} {
		if text := admin.Do("POST", "/api/rpc/oneway/"+device, body).ExpectText(400); !strings.HasPrefix(text, field) {
			t.Errorf("%.60s is refused with %q", body, text)
		}
	}
	admin.Do("POST", "/api/rpc/oneway/"+device, `{"method":`).ExpectError(400, 31)
	admin.Do("POST", "/api/rpc/oneway/x", `{"method":"m"}`).ExpectError(400, 31)
	if n := len(p.Requests.Sent()); n != 0 {
		t.Errorf("%d were sent", n)
	}
}

func TestRPCIsForWhoMayUseTheDevice(t *testing.T) {
	p := httpapitest.Start(t)
	own, foreign := p.Demo(t, "Test Device A1"), p.Demo(t, "Test Device B1")
	p.Tenant(t, "Other", "other@example.org", "secret-1")
	asked := rpc.Record{
		ID: ident.New(), Tenant: foreign.Tenant, Device: foreign.ID, Method: "m", Params: "1", Persistent: true, Status: rpc.Queued,
		Created: 1, Expires: time.Now().Add(time.Hour).UnixMilli(), Retries: -1,
	}
	p.Requests.Keep(t, asked)
	const body = `{"method":"m"}`
	customer, other := p.Customer(t), p.Login(t, "other@example.org", "secret-1")
	for _, way := range []string{"/api/rpc/oneway/", "/api/rpc/twoway/", "/api/plugins/rpc/oneway/", "/api/plugins/rpc/twoway/"} {
		customer.Do("POST", way+own.ID.String(), body).Expect(200)
		customer.Do("POST", way+foreign.ID.String(), body).ExpectText(403)
		other.Do("POST", way+own.ID.String(), body).ExpectText(404)
		p.System(t).Do("POST", way+own.ID.String(), body).Expect(403)
		p.Anonymous(t).Do("POST", way+own.ID.String(), body).Expect(401)
	}
	record := "/api/rpc/persistent/" + asked.ID.String()
	p.Admin(t).Do("GET", record, nil).Expect(200)
	customer.Do("GET", record, nil).Expect(403)
	other.Do("GET", record, nil).Expect(404)
	customer.Do("DELETE", record, nil).Expect(403)
	other.Do("DELETE", record, nil).Expect(404)
	const list = "/api/rpc/persistent/device/"
	customer.Do("GET", list+foreign.ID.String()+"?pageSize=10&page=0", nil).Expect(403)
	other.Do("GET", list+foreign.ID.String()+"?pageSize=10&page=0", nil).Expect(404)
	p.Admin(t).Do("DELETE", record, nil).Expect(200)
	p.Admin(t).Do("GET", record, nil).Expect(404)
}

func TestPersistentRPCs(t *testing.T) {
	p := httpapitest.Start(t)
	admin := p.Admin(t)
	device := p.Demo(t, "Test Device A1")
	var taken struct{ RPCID string }
	admin.Do("POST", "/api/rpc/oneway/"+device.ID.String(), `{"method":"m","params":{"p":1},"persistent":true,"additionalInfo":{"a":1}}`).Expect(200).JSON(&taken)
	var shown map[string]any
	admin.Get("/api/rpc/persistent/"+taken.RPCID, &shown)
	request, _ := shown["request"].(map[string]any)
	want := map[string]any{"method": "m", "params": `{"p":1}`}
	if diff := cmp.Diff(want, request["body"]); diff != "" || shown["status"] != "QUEUED" || request["oneway"] != true || shown["response"] != nil {
		t.Errorf("shown %v: %s", shown, diff)
	}
	if id, _ := shown["id"].(map[string]any); id["entityType"] != "RPC" || id["id"] != taken.RPCID {
		t.Errorf("its id is %v", id)
	}
	for n, status := range []rpc.Status{rpc.Successful, rpc.Failed, rpc.Delivered} {
		p.Requests.Keep(t, rpc.Record{
			ID: ident.New(), Tenant: device.Tenant, Device: device.ID, Method: "m", Params: "1", Persistent: true, Status: status,
			Created: int64(n), Expires: int64(n + 1), Retries: -1, Response: json.RawMessage(`{"n":` + fmt.Sprint(n) + `}`),
		})
	}
	for query, statuses := range map[string][]string{
		"":                      {"SUCCESSFUL", "FAILED", "EXPIRED", "QUEUED"},
		"&sortOrder=DESC":       {"QUEUED", "EXPIRED", "FAILED", "SUCCESSFUL"},
		"&rpcStatus=EXPIRED":    {"EXPIRED"}, // it was delivered and never answered
		"&rpcStatus=SENT":       {},
		"&sortProperty=status":  {"EXPIRED", "FAILED", "QUEUED", "SUCCESSFUL"},
		"&rpcStatus=SUCCESSFUL": {"SUCCESSFUL"},
	} {
		var page struct {
			Data          []struct{ Status string }
			TotalElements int
		}
		admin.Get("/api/rpc/persistent/device/"+device.ID.String()+"?pageSize=10&page=0"+query, &page)
		got := []string{}
		for _, one := range page.Data {
			got = append(got, one.Status)
		}
		if diff := cmp.Diff(statuses, got); diff != "" || page.TotalElements != len(statuses) {
			t.Errorf("%s: %d in all, %s", query, page.TotalElements, diff)
		}
	}
	var second struct {
		Data    []json.RawMessage
		HasNext bool
	}
	admin.Get("/api/rpc/persistent/device/"+device.ID.String()+"?pageSize=3&page=1", &second)
	if len(second.Data) != 1 || second.HasNext {
		t.Errorf("the second page is %s", second.Data)
	}
	for _, status := range []string{"DELETED", "OPEN"} {
		admin.Do("GET", "/api/rpc/persistent/device/"+device.ID.String()+"?pageSize=10&page=0&rpcStatus="+status, nil).ExpectError(400, 31)
	}
	admin.Do("GET", "/api/rpc/persistent/"+ident.New().String(), nil).ExpectError(404, 32)
}
