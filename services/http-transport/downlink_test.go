package httptransport

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// later does a request in the background.
func (d *door) later(t *testing.T, method, path, body string) <-chan answer {
	t.Helper()
	answered := make(chan answer, 1)
	go func() { answered <- d.do(t, method, path, "", strings.NewReader(body)) }()
	return answered
}

func expect(t *testing.T, a answer, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("%d %q, want %d %q", a.status, a.body, status, body)
	}
}

func TestH09APollGetsTheNextChange(t *testing.T) {
	d := openDoor(t, nil, nil)
	x := []telemetry.KeyValue{{Key: "k", Value: telemetry.OfDouble(1)}}
	for _, c := range []struct {
		updated []telemetry.KeyValue
		deleted []string
		want    string
	}{
		{x, nil, `{"k":1.0}`},
		{nil, []string{"k", "l"}, `{"deleted":["k","l"]}`},
		{x, []string{"l"}, `{"k":1.0,"deleted":["l"]}`},
	} {
		first, second := d.later(t, http.MethodGet, "T/attributes/updates?timeout=20000", ""), d.later(t, http.MethodGet, "T/attributes/updates", "")
		d.Rig.Session(t, d.device, false)
		awaitParked(t, d, 2)
		d.UpdateAttributes(t, d.device, c.updated, c.deleted...)
		for _, poll := range []<-chan answer{first, second} {
			select {
			case a := <-poll:
				expect(t, a, 200, c.want)
			case <-time.After(time.Second):
				// It was counted, and came to wait only when the change was told: then it has a session of its own. One that
				// waited in the first one's and was not told has none, which fails here.
				d.UpdateAttributes(t, d.device, c.updated, c.deleted...)
				expect(t, <-poll, 200, c.want)
			}
		}
		awaitParked(t, d, 0) // who has its answer may be counted for a moment
	}
}

// awaitParked waits until n polls are there: they ask the platform one after the other.
func awaitParked(t *testing.T, d *door, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); d.service.Parked() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d polls wait, want %d", d.service.Parked(), n)
		}
	}
}

func TestH10APollExpires(t *testing.T) {
	d := openDoor(t, nil, nil)
	for _, path := range []string{"T/attributes/updates?timeout=100", "T/rpc?timeout=100"} {
		started := time.Now()
		expect(t, d.do(t, http.MethodGet, path, "", nil), 408, "")
		if took := time.Since(started); took < 100*time.Millisecond {
			t.Errorf("%s expired after %v", path, took)
		}
	}
	d.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetSessionClosed() != nil })
}

func TestH11ARequestIsPolledAndAnswered(t *testing.T) {
	d := openDoor(t, nil, nil)
	for i, params := range []string{`{"p":[1]}`, ``} {
		polled := d.later(t, http.MethodGet, "T/rpc?timeout=20000", "")
		d.SendRPC(t, d.device, &sluicepb.RpcRequest{RequestId: int32(5 + i), Method: `m"`, Params: params})
		if params == "" {
			params = "null"
		}
		expect(t, <-polled, 200, fmt.Sprintf(`{"id":%d,"method":"m\"","params":%s}`, 5+i, params))
	}
	d.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetRpcProgress().GetStage() == sluicepb.RpcStage_RPC_DELIVERED
	})
	expect(t, d.post(t, "T/rpc/5", `{"r":1}`), 200, "")
	d.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetRpcReply().GetRequestId() == 5 && m.GetRpcReply().GetPayload() == `{"r":1}`
	})
	expect(t, d.post(t, "T/rpc/77", `any text`), 200, "")
}

func TestH13ADeviceAsksItsRuleChain(t *testing.T) {
	d := openDoor(t, nil, func(c *transport.Config) { c.RPCTimeout = 300 * time.Millisecond })
	asked := d.later(t, http.MethodPost, "T/rpc", `{"method":"m","params":{}}`)
	d.AnswerCall(t, d.Call(t, 0), `{"answer":[1]}`)
	expect(t, <-asked, 200, `{"answer":[1]}`)
	expect(t, d.post(t, "T/rpc", `{"method":"m","params":{}}`), 200, `{"error":"timeout"}`)
	for id, c := range map[string]struct{ path, body string }{
		"H14":             {"T/rpc", `{"params":{}}`},
		"H14 nothing":     {"T/rpc", ``},
		"H14 no JSON":     {"T/rpc", `nope`},
		"H15":             {"T/rpc/abc", `{}`},
		"H15 64 bits":     {"T/rpc/4294967296", `{}`},
		"H15 no body":     {"T/rpc/5", ``},
		"H16 no JSON":     {"T/claim", `nope`},
		"H17 no JSON":     {"provision", `nope`},
		"H17 no secret":   {"provision", `{"provisionDeviceKey":"k"}`},
		"H17 without any": {"provision", ``},
	} {
		t.Run(id, func(t *testing.T) { expectRefusal(t, d.post(t, c.path, c.body), 400, 31) })
	}
	for _, path := range []string{"T/rpc?timeout=x", "T/attributes/updates?timeout=-1"} {
		expectRefusal(t, d.do(t, http.MethodGet, path, "", nil), 400, 31)
	}
	for _, path := range []string{"W/rpc", "W/attributes/updates", "W/firmware?title=a&version=b"} {
		expect(t, d.do(t, http.MethodGet, path, "", nil), 401, "")
	}
	for _, path := range []string{"W/rpc", "W/rpc/5", "W/claim"} {
		expect(t, d.post(t, path, `{"method":"m"}`), 401, "")
	}
}

func TestH16ClaimAndH17Provision(t *testing.T) {
	d := openDoor(t, nil, nil)
	d.Core.AddProfile(&transporttest.Profile{Key: "k", Secret: "s"})
	t.Run("H16", func(t *testing.T) {
		expect(t, d.post(t, "T/claim", ""), 200, "")
		expect(t, d.do(t, http.MethodPost, "T/claim", "application/x-www-form-urlencoded", strings.NewReader(`{"secretKey":"x"}`)), 200, "")
		d.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetClaim() != nil && m.GetClaim().GetSecret() == "" })
		d.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetClaim().GetSecret() == "x" })
	})
	t.Run("H17", func(t *testing.T) {
		a := d.post(t, "provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s","deviceName":"n"}`)
		var got struct{ CredentialsValue, CredentialsType, Status string }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || got.Status != "SUCCESS" || got.CredentialsType != "ACCESS_TOKEN" {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		expect(t, d.post(t, got.CredentialsValue+"/telemetry", `{"t":1}`), 200, "")
		expect(t, d.post(t, "provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"wrong"}`), 200,
			`{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}`)
	})
}

func TestPackages(t *testing.T) {
	d := openDoor(t, nil, nil)
	data := make([]byte, 600_000)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	assigned, elsewhere := d.Core.AddPackage("fw", "1 a", data), d.Core.AddPackage("sw", "2", nil)
	d.Core.Change(func() {
		elsewhere.URL = "http://127.0.0.1/x"
		assigned.ContentType = ""
		d.device.Firmware = assigned
	})
	d.Core.AddDevice("N")
	get := func(path string, header ...string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		return d.send(t, request)
	}
	const here = "T/firmware?title=fw&version=1%20a"
	for id, c := range map[string]struct {
		query    string
		from, to int
	}{
		"H18 a chunk":          {"&size=4096&chunk=1", 4096, 8192},
		"H18 the last":         {"&size=4096&chunk=146", 598_016, 600_000},
		"H18 after the last":   {"&size=4096&chunk=147", 0, 0},
		"H18 far beyond":       {"&size=9223372036854775807&chunk=9223372036854775807", 0, 0},
		"H18 larger than all":  {"&size=9223372036854775807", 0, 600_000},
		"H18 exactly the size": {"&size=300000&chunk=2", 0, 0},
		"H18 whole":            {"", 0, 600_000},
	} {
		t.Run(id, func(t *testing.T) {
			a := get(here + c.query)
			if a.status != 200 || a.body != string(data[c.from:c.to]) || a.header.Get("x-filename") != "fw.bin" ||
				a.header.Get("Content-Disposition") != "attachment;filename=fw.bin" || a.header.Get("Content-Type") != "application/octet-stream" ||
				a.header.Get("Content-Length") != fmt.Sprint(c.to-c.from) {
				t.Errorf("%d, %d bytes, %v, want %d", a.status, len(a.body), a.header, c.to-c.from)
			}
		})
	}
	t.Run("H18 ranges", func(t *testing.T) {
		for want, c := range map[string]struct {
			header   string
			from, to int
		}{
			"bytes 0-9/600000":           {"bytes=0-9", 0, 10},
			"bytes 262140-524299/600000": {"bytes=262140-524299", 262_140, 524_300},
			"bytes 599999-599999/600000": {"bytes=-1", 599_999, 600_000},
			"bytes 599990-599999/600000": {"bytes=599990-", 599_990, 600_000},
		} {
			a := get(here, "Range", c.header)
			if a.status != 206 || a.body != string(data[c.from:c.to]) || a.header.Get("Content-Range") != want {
				t.Errorf("%s: %d, %d bytes, %v", c.header, a.status, len(a.body), a.header)
			}
		}
		if a := get(here, "Range", "bytes=600000-"); a.status != 416 {
			t.Errorf("beyond the end: %d", a.status)
		}
		tag := get(here, "Range", "bytes=0-0").header.Get("ETag")
		if a := get(here, "Range", "bytes=0-9", "If-Range", tag); a.status != 206 {
			t.Errorf("of the package it has begun: %d", a.status)
		}
		if a := get(here, "Range", "bytes=0-9", "If-Range", `"other"`); a.status != 200 || len(a.body) != len(data) {
			t.Errorf("of another package: %d", a.status)
		}
	})
	for id, c := range map[string]struct {
		path   string
		status int
	}{
		"H19 another title":   {"T/firmware?title=other&version=1%20a", 400},
		"H19 another version": {"T/firmware?title=fw&version=2", 400},
		"H19 none assigned":   {"N/firmware?title=fw&version=1%20a", 404},
		"H19 no software":     {"T/software?title=fw&version=1%20a", 404},
	} {
		t.Run(id, func(t *testing.T) { expect(t, get(c.path), c.status, "") })
	}
	for id, path := range map[string]string{
		"H19 no title": "T/firmware?version=1", "H19 no version": "T/firmware?title=fw", "H19 size": here + "&size=x", "H19 chunk": here + "&chunk=-1",
	} {
		t.Run(id, func(t *testing.T) { expectRefusal(t, get(path), 400, 31) })
	}
	t.Run("H19 a package elsewhere", func(t *testing.T) {
		d.Core.Change(func() { d.device.Software = elsewhere })
		expect(t, get("T/software?title=sw&version=2"), 404, "")
	})
	t.Run("the platform is away", func(t *testing.T) {
		d.Core.Fail(fault.New(fault.Unavailable, "away"))
		defer d.Core.Fail(nil)
		expectRefusal(t, get(here), 503, 2)
	})
}

func TestH20BodiesOfRequestsAreBounded(t *testing.T) {
	d := openDoor(t, nil, func(c *transport.Config) { c.RPCTimeout = time.Millisecond })
	body := func(size int) string {
		const around = `{"method":"m","params":""}`
		return strings.Replace(around, `""`, `"`+strings.Repeat("x", size-len(around))+`"`, 1)
	}
	expect(t, d.post(t, "T/rpc", body(65_536)), 200, `{"error":"timeout"}`)
	expectRefusal(t, d.post(t, "T/rpc", body(65_537)), 413, 31)
	expectRefusal(t, d.post(t, "T/rpc/1", body(65_537)), 413, 31)
	// Its length is hidden: the body goes out in chunks.
	expectRefusal(t, d.do(t, http.MethodPost, "T/rpc/1", "", io.MultiReader(strings.NewReader(body(65_537)))), 413, 31)
}

func TestH21AnyKindOfProfileMayUseHTTP(t *testing.T) {
	d := openDoor(t, nil, nil)
	for i, kind := range []string{"COAP", "MQTT"} {
		d.Core.Change(func() {
			d.device.TransportType = kind
			d.device.Options = &sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: `syntax = "proto3"; message A {}`}
		})
		d.Changed(t, d.device, false, false)
		expect(t, d.post(t, "T/telemetry", `{"t":1}`), 200, "")
		d.Uplinks(t, i+1)
	}
}

func TestH22RequestsAreNoConnection(t *testing.T) {
	d := openDoor(t, nil, func(c *transport.Config) { c.ActivityReport = 10 * time.Millisecond })
	expect(t, d.do(t, http.MethodGet, "T/rpc?timeout=50", "", nil), 408, "")
	expect(t, d.post(t, "T/telemetry", `{}`), 200, "")
	d.Report(t, func(m *sluicepb.CoreMessage) bool { return m.GetActivity() != nil })
	for _, m := range d.Reports(t, 1) {
		if o := m.GetSessionOpened(); o != nil && !o.GetOnce() {
			t.Errorf("a session was opened: %v", m)
		}
	}
}

func TestPollsEndWithDeviceAndService(t *testing.T) {
	d := openDoor(t, func(c *Config) { c.Polls = 2 }, nil)
	first, second := d.later(t, http.MethodGet, "T/rpc", ""), d.later(t, http.MethodGet, "T/attributes/updates", "")
	awaitParked(t, d, 2)
	a := d.do(t, http.MethodGet, "T/rpc", "", nil)
	expectRefusal(t, a, 503, 2)
	if a.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	d.Session(t, d.device, true)
	d.Session(t, d.device, false)
	d.Changed(t, d.device, true, false)
	expect(t, <-first, 403, "Device was deleted!")
	expect(t, <-second, 403, "Device was deleted!")
	last := d.later(t, http.MethodGet, "T/rpc", "")
	awaitParked(t, d, 1)
	started := time.Now()
	d.stop()
	expectRefusal(t, <-last, 503, 2)
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("the service waited %v for a poll", took)
	}
}

func TestAboveTheRate(t *testing.T) {
	d := openDoor(t, nil, func(c *transport.Config) { c.DeviceLimits.Messages = "1:3600" })
	expect(t, d.post(t, "T/claim", ""), 200, "")
	var asking sync.WaitGroup
	for _, path := range []string{"T/rpc", "T/attributes/updates", "T/attributes", "T/firmware?title=a&version=b"} {
		asking.Go(func() { expectRefusal(t, d.do(t, http.MethodGet, path, "", nil), 429, 33) })
	}
	for _, path := range []string{"T/rpc", "T/rpc/1", "T/claim"} {
		asking.Go(func() { expectRefusal(t, d.post(t, path, `{"method":"m"}`), 429, 33) })
	}
	asking.Wait()
}
