package system

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// deviceHTTP are the cases of HTTP (device-api §8.5).
func deviceHTTP(t *testing.T, a *deviceAPI) {
	t.Run("requests", func(t *testing.T) { httpRequests(t, a) })
	t.Run("polls", func(t *testing.T) { httpPolls(t, a) })
	t.Run("rpc", func(t *testing.T) { httpRPC(t, a) })
	t.Run("chain", func(t *testing.T) { httpChain(t, a) })
	t.Run("provision", func(t *testing.T) { httpProvision(t, a) })
	t.Run("activity", func(t *testing.T) { httpActivity(t, a) })
}

// httpDevice is a device that speaks HTTP.
type httpDevice struct {
	a     *deviceAPI
	token string
}

func (d *httpDevice) do(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.a.doors.HTTP+"/api/v1/"+d.token+"/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded") // curl's default
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}

func (d *httpDevice) expect(t *testing.T, method, path, body string, status int, answer string) {
	t.Helper()
	if got, text := d.do(t, method, path, body); got != status || text != answer {
		t.Errorf("%s %s: %d %s, want %d %s", method, path, got, text, status, answer)
	}
}

// fails expects a refusal with the platform's error body.
func (d *httpDevice) fails(t *testing.T, method, path, body string, status int) {
	t.Helper()
	got, text := d.do(t, method, path, body)
	var refusal struct{ Status, ErrorCode int }
	if err := json.Unmarshal([]byte(text), &refusal); err != nil || got != status || refusal.Status != status || refusal.ErrorCode == 0 {
		t.Errorf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
}

// answerHTTP is what a request in the background was answered.
type answerHTTP struct {
	status int
	body   string
}

func (d *httpDevice) later(t *testing.T, method, path, body string) <-chan answerHTTP {
	t.Helper()
	out := make(chan answerHTTP, 1)
	go func() {
		status, text := d.do(t, method, path, body)
		out <- answerHTTP{status, text}
	}()
	return out
}

func httpRequests(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	d, stranger := &httpDevice{a, token}, &httpDevice{a, "wrong" + token}
	t.Run("H01", func(t *testing.T) {
		d.expect(t, http.MethodPost, "telemetry", `{"h01":1}`, 200, "")
		a.stored(t, device, "h01", point{Value: json.Number("1")})
	})
	t.Run("H02", func(t *testing.T) { d.expect(t, http.MethodPost, "telemetry", `{}`, 200, "") })
	t.Run("H03", func(t *testing.T) {
		stranger.expect(t, http.MethodPost, "telemetry", `{"t":1}`, 401, "")
		stranger.expect(t, http.MethodGet, "attributes", ``, 401, "")
		stranger.expect(t, http.MethodGet, "rpc?timeout=1000", ``, 401, "")
	})
	t.Run("H04", func(t *testing.T) { d.fails(t, http.MethodPost, "telemetry", `nope`, 400) })
	t.Run("H05", func(t *testing.T) { d.fails(t, http.MethodPost, "telemetry", ``, 400) })
	d.expect(t, http.MethodPost, "attributes", `{"a":1,"b":"x"}`, 200, "")
	a.share(t, device, map[string]any{"c": true, "d": 2.5})
	a.eventually(t, func() error {
		if status, text := d.do(t, http.MethodGet, "attributes", ""); status != 200 || !sameJSON([]byte(text), `{"client":{"a":1,"b":"x"},"shared":{"c":true,"d":2.5}}`) {
			return fmt.Errorf("H08 without parameters: %d %s", status, text)
		}
		return nil
	})
	for id, c := range map[string]struct{ query, want string }{
		"H06": {"?clientKeys=a,nope&sharedKeys=c", `{"client":{"a":1},"shared":{"c":true}}`},
		"H07": {"?sharedKeys=c&sharedKeys=d", `{"shared":{"c":true,"d":2.5}}`},
		"H08": {"", `{"client":{"a":1,"b":"x"},"shared":{"c":true,"d":2.5}}`},
	} {
		t.Run(id, func(t *testing.T) {
			if status, text := d.do(t, http.MethodGet, "attributes"+c.query, ""); status != 200 || !sameJSON([]byte(text), c.want) {
				t.Errorf("%d %s, want %s", status, text, c.want)
			}
		})
	}
	t.Run("H16", func(t *testing.T) { d.expect(t, http.MethodPost, "claim", ``, 200, "") })
	t.Run("H20", func(t *testing.T) {
		d.fails(t, http.MethodPost, "rpc", `{"method":"m","params":"`+strings.Repeat("x", 65_537-26)+`"}`, 413)
		// As large as may be, and no request: it was read and looked at.
		d.fails(t, http.MethodPost, "rpc", `{"params":"`+strings.Repeat("x", 65_536-13)+`"}`, 400)
	})
	for _, kind := range []string{"MQTT", "COAP"} {
		t.Run("H21 "+kind, func(t *testing.T) {
			_, token := a.device(t, a.profile(t, kind, nil))
			(&httpDevice{a, token}).expect(t, http.MethodPost, "telemetry", `{"t":1}`, 200, "")
		})
	}
	t.Run("H23", func(t *testing.T) {
		response, err := http.Post("http://"+a.doors.HTTP+"/api/v1/"+token+"/telemetry", "text/plain", strings.NewReader(`{"h23":1}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Error(response.Status)
		}
	})
}

func httpPolls(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	d := &httpDevice{a, token}
	t.Run("H09", func(t *testing.T) {
		first, second := d.later(t, http.MethodGet, "attributes/updates?timeout=30000", ""), d.later(t, http.MethodGet, "attributes/updates?timeout=30000", "")
		change := time.NewTicker(time.Second) // the polls are not on their way to the owner for longer
		defer change.Stop()
		for n := 0; ; n++ {
			select {
			case got := <-first:
				if got.status != 200 || !strings.HasPrefix(got.body, `{"k":`) {
					t.Errorf("%d %s", got.status, got.body)
				}
				if other := <-second; other.status != 200 {
					t.Errorf("the other poll: %d %s", other.status, other.body)
				}
				return
			case <-change.C:
				a.share(t, device, map[string]any{"k": n})
			}
		}
	})
	t.Run("H09 deleted", func(t *testing.T) {
		poll := d.later(t, http.MethodGet, "attributes/updates?timeout=30000", "")
		change := time.NewTicker(time.Second)
		defer change.Stop()
		for {
			select {
			case got := <-poll:
				if got.status != 200 || got.body != `{"deleted":["k"]}` {
					t.Errorf("%d %s", got.status, got.body)
				}
				return
			case <-change.C:
				a.unshare(t, device, "k")
			}
		}
	})
	t.Run("H10", func(t *testing.T) {
		started := time.Now()
		d.expect(t, http.MethodGet, "attributes/updates?timeout=1500", "", 408, "")
		if took := time.Since(started); took < 1500*time.Millisecond {
			t.Errorf("it expired after %v", took)
		}
	})
	t.Run("a deleted device's polls", func(t *testing.T) {
		device, token := a.device(t, "")
		d := &httpDevice{a, token}
		poll := d.later(t, http.MethodGet, "rpc?timeout=60000", "")
		d.expect(t, http.MethodPost, "telemetry", `{"t":1}`, 200, "")
		time.Sleep(500 * time.Millisecond) // for the poll to be there; should it not, it is refused as unknown
		a.rest(t, http.MethodDelete, "/api/device/"+device, nil, nil)
		if got := <-poll; got.status != 403 && got.status != 401 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

func httpRPC(t *testing.T, a *deviceAPI) {
	device, token := a.device(t, "")
	d := &httpDevice{a, token}
	send := func(t *testing.T, body map[string]any) <-chan answerHTTP {
		t.Helper()
		out := make(chan answerHTTP, 1)
		go func() {
			var text string
			if err := a.tenant.call(t.Context(), http.MethodPost, "/api/rpc/twoway/"+device, body, &text); err != nil {
				text = err.Error()
			}
			out <- answerHTTP{body: text}
		}()
		return out
	}
	serve := func(t *testing.T, poll <-chan answerHTTP) {
		t.Helper()
		got := <-poll
		var request struct {
			ID     *int
			Method string
			Params any
		}
		if err := json.Unmarshal([]byte(got.body), &request); err != nil || got.status != 200 || request.ID == nil || request.Method != "m" {
			t.Fatalf("polled %d %s", got.status, got.body)
		}
		d.expect(t, http.MethodPost, fmt.Sprint("rpc/", *request.ID), `{"r":1}`, 200, "")
	}
	t.Run("H11", func(t *testing.T) {
		poll := d.later(t, http.MethodGet, "rpc?timeout=30000", "")
		answer := send(t, map[string]any{"method": "m", "params": map[string]any{"p": 1}, "timeout": 30000})
		serve(t, poll)
		if got := <-answer; got.body != `{"r":1}` {
			t.Errorf("the caller is answered %s", got.body)
		}
	})
	t.Run("H12", func(t *testing.T) {
		answer := send(t, map[string]any{"method": "m", "params": map[string]any{}, "timeout": 30000})
		time.Sleep(time.Second) // it waits at the owner by then
		serve(t, d.later(t, http.MethodGet, "rpc?timeout=20000", ""))
		if got := <-answer; got.body != `{"r":1}` {
			t.Errorf("the caller is answered %s", got.body)
		}
	})
	t.Run("H14", func(t *testing.T) { d.fails(t, http.MethodPost, "rpc", `{"params":{}}`, 400) })
	t.Run("H15", func(t *testing.T) { d.fails(t, http.MethodPost, "rpc/abc", `{}`, 400) })
}

// replyChain answers devices' requests with what they sent.
const replyChain = `{"ruleChain":{"name":"Reply","type":"CORE"},"metadata":{"firstNodeIndex":0,"nodes":[
	{"type":"org.thingsboard.rule.engine.rpc.TbSendRPCReplyNode","name":"Reply","additionalInfo":{},
	 "configuration":{"serviceIdMetaDataAttribute":"serviceId","sessionIdMetaDataAttribute":"sessionId","requestIdMetaDataAttribute":"requestId"}}
	],"connections":[],"ruleChainConnections":[]}}`

// replying is the same platform and a tenant whose rule chain answers devices.
func (a *deviceAPI) replying(t *testing.T) *deviceAPI {
	t.Helper()
	other := a.anotherTenant(t)
	if err := other.tenant.UseChain(t.Context(), []byte(replyChain)); err != nil {
		t.Fatal(err)
	}
	return other
}

func httpChain(t *testing.T, a *deviceAPI) {
	t.Run("H13", func(t *testing.T) {
		a := a.replying(t)
		_, token := a.device(t, "")
		d := &httpDevice{a, token}
		status, text := d.do(t, http.MethodPost, "rpc", `{"method":"m","params":{"p":[1]}}`)
		if status != 200 || !sameJSON([]byte(text), `{"method":"m","params":{"p":[1]}}`) {
			t.Errorf("%d %s", status, text)
		}
	})
}

func httpProvision(t *testing.T, a *deviceAPI) {
	key, secret, name := unique("key"), unique("secret"), unique("provisioned")
	a.rest(t, http.MethodPost, "/api/deviceProfile", map[string]any{
		"name": unique("profile"), "type": "DEFAULT", "transportType": "DEFAULT", "provisionType": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceKey": key,
		"profileData": map[string]any{
			"configuration": map[string]any{"type": "DEFAULT"}, "transportConfiguration": map[string]any{"type": "DEFAULT"},
			"provisionConfiguration": map[string]any{"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": secret},
		},
	}, nil)
	post := func(secret string) (got struct{ CredentialsValue, Status string }) {
		t.Helper()
		body := fmt.Sprintf(`{"deviceName":%q,"provisionDeviceKey":%q,"provisionDeviceSecret":%q}`, name, key, secret)
		response, err := http.Post("http://"+a.doors.HTTP+"/api/v1/provision", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || response.StatusCode != 200 {
			t.Fatal(response.Status, err)
		}
		return got
	}
	t.Run("H17 good", func(t *testing.T) {
		got := post(secret)
		if got.Status != "SUCCESS" {
			t.Fatalf("answered %+v", got)
		}
		(&httpDevice{a, got.CredentialsValue}).expect(t, http.MethodPost, "telemetry", `{"t":1}`, 200, "")
	})
	t.Run("H17 wrong secret", func(t *testing.T) {
		if got := post("wrong"); got.Status != "NOT_FOUND" {
			t.Errorf("answered %+v", got)
		}
	})
}

func httpActivity(t *testing.T, a *deviceAPI) {
	t.Run("H22", func(t *testing.T) {
		device, token := a.device(t, "")
		(&httpDevice{a, token}).expect(t, http.MethodPost, "telemetry", `{"t":1}`, 200, "")
		a.eventually(t, func() error {
			if found := a.attributes(t, device, "SERVER_SCOPE"); found["active"] != true {
				return fmt.Errorf("attributes %v", found)
			}
			return nil
		})
		if at := a.attributes(t, device, "SERVER_SCOPE")["lastConnectTime"]; at != nil && at != json.Number("0") {
			t.Errorf("it connected at %v", at)
		}
	})
}
