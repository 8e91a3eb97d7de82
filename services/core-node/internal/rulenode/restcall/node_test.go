package restcall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/restcall"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is one with a way outside, by default to this machine.
func bench(t *testing.T, change func(*outside.Settings)) *rulenodetest.Bench {
	t.Helper()
	s := outside.DefaultSettings()
	s.Allow = []string{"127.0.0.0/8"}
	if change != nil {
		change(&s)
	}
	b := rulenodetest.New(t)
	b.Services.Outside = outside.New(outside.Options{Settings: s})
	t.Cleanup(func() {
		if err := b.Services.Outside.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// configured is the default configuration with fields changed.
func configured(t *testing.T, fields map[string]any) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(restcall.Kind().Default, &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if value == nil {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRequestsAsConfigured(t *testing.T) {
	var got string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		user, pass, _ := r.BasicAuth()
		got = fmt.Sprintf("%s %s %s [%s] %s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Kind"), body, strings.Trim(user+":"+pass, ":"))
		w.WriteHeader(http.StatusNoContent)
	})
	for name, is := range map[string]struct {
		fields map[string]any
		data   string
		want   string
	}{
		"as it is by default": {nil, `{"a":1}`, `POST / [{"a":1}]`},
		"patterns": {map[string]any{
			"restEndpointUrlPattern": url + "/${device}/$[a]?q=${device}", "headers": map[string]string{"X-${kind}": "$[a]"}, "requestBodyTemplate": "<$[a]>",
		}, `{"a":1}`, `POST /d%201/1?q=d%201 1 [<1>]`},
		"parameters":                     {map[string]any{"queryParams": []map[string]string{{"key": "d", "value": "${device}&"}}}, `{}`, `POST /?d=d+1%26 [{}]`},
		"plain text":                     {map[string]any{"parseToPlainText": true}, `"hello \"you\""`, `POST / [hello "you"]`},
		"no text to make":                {map[string]any{"parseToPlainText": true}, `{"a":1}`, `POST / [{"a":1}]`},
		"without body":                   {map[string]any{"ignoreRequestBody": true}, `{"a":1}`, `POST / []`},
		"GET has no body":                {map[string]any{"requestMethod": "GET"}, `{"a":1}`, `GET / []`},
		"DELETE has one":                 {map[string]any{"requestMethod": "DELETE"}, `{"a":1}`, `DELETE / [{"a":1}]`},
		"basic credentials":              {map[string]any{"credentials": map[string]string{"type": "basic", "username": "u", "password": "p"}}, `{}`, `POST / [{}] u:p`},
		"a URL as it always was encoded": {map[string]any{"queryParams": nil, "restEndpointUrlPattern": url + "/a%20b?x=%26${device}"}, `{}`, `POST /a%20b?x=%26d%201 [{}]`},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench(t, nil)
			fields := map[string]any{"restEndpointUrlPattern": url}
			for field, value := range is.fields {
				fields[field] = value
			}
			n := b.Node(restcall.Kind(), configured(t, fields))
			out := b.Process(n, b.Message("T", is.data, map[string]string{"device": "d 1", "kind": "Kind"}))
			if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.Success || out.Emitted[0].Data != "{}" {
				t.Errorf("outcome %+v", out)
			}
			if diff := cmp.Diff(strings.Join(strings.Fields(is.want), " "), strings.Join(strings.Fields(got), " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	status, body := 0, ""
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-Two"] = []string{"a", "b"}
		w.Header().Set("X-One", "c")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	b := bench(t, nil)
	n := b.Node(restcall.Kind(), configured(t, map[string]any{"restEndpointUrlPattern": url}))
	in := b.Message("T", `{"was":1}`, map[string]string{"k": "v"})
	status, body = 201, `{"made":true}`
	out := b.Process(n, in).Emitted[0]
	for name, want := range map[string]string{"status": "CREATED", "statusCode": "201", "statusReason": "Created", "X-One": "c", "X-Two": `["a","b"]`, "k": "v"} {
		if out.Metadata[name] != want {
			t.Errorf("%s is %q, want %q", name, out.Metadata[name], want)
		}
	}
	if out.Relation != rule.Success || out.Data != body || out.Type != "T" {
		t.Errorf("outcome %+v", out)
	}
	status, body = 404, `nothing there`
	out = b.Process(n, in).Emitted[0]
	if out.Relation != rule.Failure || out.Data != `{"was":1}` || out.Metadata["status"] != "NOT_FOUND" || out.Metadata["statusCode"] != "404" ||
		out.Metadata["error_body"] != body || out.Metadata["error"] == "" || out.Err == "" {
		t.Errorf("outcome %+v", out)
	}
}

func TestWhatGoesWrongOutsideFailsTheMessage(t *testing.T) {
	let := make(chan struct{})
	var once sync.Once
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-let:
		case <-r.Context().Done():
		}
	})
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-let:
				return
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { once.Do(func() { close(let) }) })
	huge := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 5000 {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})
	var inside atomic.Bool
	secret := serve(t, func(http.ResponseWriter, *http.Request) { inside.Store(true) })
	redirecting := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secret, http.StatusTemporaryRedirect)
	})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, is := range map[string]struct {
		fields map[string]any
		says   string
	}{
		"a server that hangs":           {map[string]any{"restEndpointUrlPattern": hanging, "readTimeoutMs": 100}, "no response within 100ms"},
		"a response without end":        {map[string]any{"restEndpointUrlPattern": slow, "readTimeoutMs": 100}, "no response within 100ms"},
		"a huge response":               {map[string]any{"restEndpointUrlPattern": huge, "maxInMemoryBufferSizeInKb": 10}, "more than 10240 bytes"},
		"a response beyond the bound":   {map[string]any{"restEndpointUrlPattern": huge, "maxInMemoryBufferSizeInKb": 0}, "more than 4194304 bytes"},
		"a redirect":                    {map[string]any{"restEndpointUrlPattern": redirecting}, "307"},
		"nobody there":                  {map[string]any{"restEndpointUrlPattern": gone.URL}, "refused"},
		"an address that is not public": {map[string]any{"restEndpointUrlPattern": "http://169.254.169.254/latest/meta-data"}, "not public"},
		"no URL of HTTP":                {map[string]any{"restEndpointUrlPattern": "file:///etc/passwd"}, "http or https"},
		"no URL":                        {map[string]any{"restEndpointUrlPattern": "http://[::1"}, "restEndpointUrlPattern"},
		"a header that is none":         {map[string]any{"restEndpointUrlPattern": gone.URL, "headers": map[string]string{"a b": "c"}}, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench(t, nil)
			n := b.Node(restcall.Kind(), configured(t, is.fields))
			out := b.Process(n, b.Message("T", `{"was":1}`, nil))
			if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.Failure || out.Away != "" {
				t.Fatalf("outcome %+v", out)
			}
			if e := out.Emitted[0]; !strings.Contains(e.Err, is.says) || e.Metadata["error"] != e.Err || e.Data != `{"was":1}` {
				t.Errorf("failed as %+v, want %q", e, is.says)
			}
		})
	}
	if inside.Load() {
		t.Error("a redirect was followed")
	}
}

func TestLoopbackIsRefusedByDefault(t *testing.T) {
	reached := false
	url := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	b := bench(t, func(s *outside.Settings) { s.Allow = nil })
	for _, target := range []string{url, strings.Replace(url, "127.0.0.1", "localhost", 1)} {
		n := b.Node(restcall.Kind(), configured(t, map[string]any{"restEndpointUrlPattern": target}))
		if why, failed := b.Process(n, b.Message("T", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "not public") || reached {
			t.Errorf("%s: %v %q, reached %v", target, failed, why, reached)
		}
	}
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	var now, most atomic.Int32
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
	})
	b := bench(t, nil)
	config := configured(t, map[string]any{"restEndpointUrlPattern": url, "maxParallelRequestsCount": 2})
	var all sync.WaitGroup
	for range 3 { // the chain was read again meanwhile: other instances of one node
		n := b.Node(restcall.Kind(), config)
		for range 4 {
			all.Go(func() {
				turn := &rule.Turn{}
				if err := n.Process(t.Context(), b.Message("T", `{}`, nil), turn); err != nil || turn.Emissions()[0].Relation != rule.Success {
					t.Errorf("%v, %+v", err, turn.Emissions())
				}
			})
		}
	}
	all.Wait()
	if most.Load() > 2 {
		t.Errorf("%d requests at once, of 2", most.Load())
	}
}

func TestAMessageThatIsGivenUpLeavesNoRequest(t *testing.T) {
	ended := make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})
	b := bench(t, nil)
	n := b.Node(restcall.Kind(), configured(t, map[string]any{"restEndpointUrlPattern": url, "ignoreRequestBody": true}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	turn := &rule.Turn{}
	if err := n.Process(ctx, b.Message("T", `{}`, nil), turn); err != nil || len(turn.Emissions()) != 1 {
		t.Errorf("%v, %+v", err, turn.Emissions())
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the request is still under way")
	}
}

func TestBadConfigurationsNameTheField(t *testing.T) {
	b := bench(t, nil)
	for field, value := range map[string]any{
		"restEndpointUrlPattern": "", "requestMethod": "FETCH", "readTimeoutMs": -1, "maxParallelRequestsCount": -1, "maxInMemoryBufferSizeInKb": -1,
		"credentials": map[string]string{"type": "cert.PEM", "caCert": "none"}, "enableProxy": true, "headers": 5,
	} {
		_, err := b.New(restcall.Kind(), configured(t, map[string]any{field: value}))
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestUpgrades(t *testing.T) {
	got, _ := rulenodetest.Upgrade(t, restcall.Kind(), 0, `{"restEndpointUrlPattern":"http://x","requestMethod":"GET","headers":{},"trimDoubleQuotes":true,`+
		`"useRedisQueueForMsgPersistence":true,"maxQueueSize":5,"useSimpleClientHttpFactory":true,"unheardOf":1}`)
	want := `{"headers":{},"maxInMemoryBufferSizeInKb":256,"parseToPlainText":true,"requestBodyTemplate":null,"requestMethod":"GET","restEndpointUrlPattern":"http://x"}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
