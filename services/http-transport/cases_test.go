package httptransport

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// door is a running service with the device of token T.
type door struct {
	*transporttest.Rig
	base    string
	device  *transporttest.Device
	client  *http.Client
	stop    func() // of the service; it may be called early
	service *Service
}

func openDoor(t testing.TB, change func(*Config), limits func(*transport.Config)) *door {
	t.Helper()
	c := defaults(t)
	if change != nil {
		change(&c)
	}
	d := &door{Rig: transporttest.Start(t, limits), client: &http.Client{Transport: &http.Transport{}}}
	d.device = d.Core.AddDevice("T")
	d.service, d.stop = run(t, c, d.Rig.Transport)
	d.base = "http://" + d.service.Addr() + "/api/v1/"
	t.Cleanup(func() {
		d.client.CloseIdleConnections()
		d.stop()
	})
	return d
}

type answer struct {
	status int
	body   string
	header http.Header
}

func (d *door) do(t testing.TB, method, path, contentType string, body io.Reader) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return d.send(t, request)
}

func (d *door) send(t testing.TB, request *http.Request) answer {
	t.Helper()
	response, err := d.client.Do(request)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return answer{response.StatusCode, string(text), response.Header}
}

func (d *door) post(t testing.TB, path, body string) answer {
	t.Helper()
	return d.do(t, http.MethodPost, path, "application/json", strings.NewReader(body))
}

// expectRefusal checks the platform's error body.
func expectRefusal(t *testing.T, a answer, status, code int) {
	t.Helper()
	var body struct {
		Status, ErrorCode int
		Message           string
		Timestamp         int64
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Errorf("body %q: %v", a.body, err)
	}
	if a.status != status || body.Status != status || body.ErrorCode != code || body.Message == "" || body.Timestamp == 0 {
		t.Errorf("%d %+v, want %d with error code %d", a.status, body, status, code)
	}
}

// TestCases are the acceptance cases H01–H08 and H23 of the device API.
func TestCases(t *testing.T) {
	d := openDoor(t, nil, nil)
	d.Core.Change(func() {
		d.device.Client = []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}, {Key: "b", Value: telemetry.OfDouble(2)}}
		d.device.Shared = []telemetry.KeyValue{{Key: "c", Value: telemetry.OfString("x")}, {Key: "d", Value: telemetry.OfBool(true)}}
	})
	stored := 0
	for _, c := range []struct {
		id, path, body string
		status         int
		stored         bool
	}{
		{"H01", "T/telemetry", `{"t":1}`, 200, true},
		{"H01", "T/attributes", `{"t":1}`, 200, true},
		{"H02", "T/telemetry", `{}`, 200, false},
		{"H02", "T/telemetry", `[]`, 200, false},
		{"H03", "wrong/telemetry", `{"t":1}`, 401, false},
		{"H03", "wrong/attributes", `{"t":1}`, 401, false},
		{"H04", "T/telemetry", `nope`, 400, false},
		{"H04", "T/attributes", `[{"t":1}]`, 400, false},
		{"H05", "T/telemetry", ``, 400, false},
		{"H05", "T/attributes", ``, 400, false},
	} {
		t.Run(c.id, func(t *testing.T) {
			a := d.post(t, c.path, c.body)
			if a.status != c.status {
				t.Errorf("POST %s %q: %d %s, want %d", c.path, c.body, a.status, a.body, c.status)
			}
			if (c.status == 200 || c.status == 401) && a.body != "" {
				t.Errorf("body %q, want none", a.body)
			}
			if c.status == 400 {
				expectRefusal(t, a, 400, 31)
			}
			if c.stored {
				stored++
			}
			d.Uplinks(t, stored)
		})
	}
	for _, c := range []struct{ id, query, want string }{
		{"H06", "?clientKeys=a,nope&sharedKeys=c", `{"client":{"a":1},"shared":{"c":"x"}}`},
		{"H06", "?clientKeys=b", `{"client":{"b":2.0}}`},
		{"H06", "?sharedKeys=nope", `{}`},
		{"H07", "?sharedKeys=c&sharedKeys=d", `{"shared":{"c":"x","d":true}}`},
		{"H08", "", `{"client":{"a":1,"b":2.0},"shared":{"c":"x","d":true}}`},
		{"H08", "?clientKeys=", `{"client":{"a":1,"b":2.0},"shared":{"c":"x","d":true}}`},
	} {
		t.Run(c.id, func(t *testing.T) {
			a := d.do(t, http.MethodGet, "T/attributes"+c.query, "", nil)
			if a.status != 200 || a.body != c.want || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("GET attributes%s: %d %s (%s), want %s", c.query, a.status, a.body, a.header.Get("Content-Type"), c.want)
			}
		})
	}
	t.Run("H03", func(t *testing.T) {
		if a := d.do(t, http.MethodGet, "wrong/attributes", "", nil); a.status != 401 || a.body != "" {
			t.Errorf("%d %q, want 401 without a body", a.status, a.body)
		}
	})
	t.Run("H23", func(t *testing.T) {
		for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", ""} {
			if a := d.do(t, http.MethodPost, "T/telemetry", contentType, strings.NewReader(`{"t":1}`)); a.status != 200 {
				t.Errorf("%q: %d", contentType, a.status)
			}
			stored++
		}
		d.Uplinks(t, stored)
	})
}

func TestUnknownPathsAndMethods(t *testing.T) {
	d := openDoor(t, nil, nil)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "T/nothing", 404},
		{http.MethodPost, "T/nothing", 404},
		{http.MethodPost, "telemetry", 404},
		{http.MethodPost, "T/telemetry/more", 404},
		{http.MethodGet, "", 404},
		{http.MethodGet, "T/telemetry", 405},
		{http.MethodPut, "T/telemetry", 405},
		{http.MethodDelete, "T/attributes", 405},
	} {
		a := d.do(t, c.method, c.path, "", nil)
		code := map[int]int{404: 32, 405: 2}[c.status]
		t.Run(c.method+" "+c.path, func(t *testing.T) { expectRefusal(t, a, c.status, code) })
	}
	if asked := d.Core.Asked(); asked != 0 {
		t.Errorf("the core was asked %d times", asked)
	}
}

func TestBodyLimits(t *testing.T) {
	d := openDoor(t, func(c *Config) { c.MaxBodyBytes = 1000 }, nil)
	body := func(size int) string { return `{"s":"` + strings.Repeat("x", size-8) + `"}` }
	// iotest.OneByteReader hides the length: the body goes out in chunks.
	chunked := func(text string) io.Reader { return iotest.OneByteReader(strings.NewReader(text)) }
	for name, c := range map[string]struct {
		body   io.Reader
		status int
	}{
		"fits":             {strings.NewReader(body(1000)), 200},
		"too large":        {strings.NewReader(body(1001)), 413},
		"fits, chunked":    {chunked(body(1000)), 200},
		"small, chunked":   {chunked(`{"t":1}`), 200},
		"large, chunked":   {chunked(body(1001)), 413},
		"nothing, chunked": {chunked(""), 400},
	} {
		a := d.do(t, http.MethodPost, "T/telemetry", "", c.body)
		if a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
		if c.status == 413 {
			expectRefusal(t, a, 413, 31)
		}
	}
	d.Uplinks(t, 3)
}

func TestRefusalsSayWhenToTryAgain(t *testing.T) {
	d := openDoor(t, func(c *Config) { c.Patience = 10 * time.Millisecond },
		func(c *transport.Config) { c.DeviceLimits.Telemetry = "2:3600" })
	retry := func(a answer, status, code int) {
		t.Helper()
		expectRefusal(t, a, status, code)
		if a.header.Get("Retry-After") != "5" {
			t.Errorf("%d with Retry-After %q", status, a.header.Get("Retry-After"))
		}
	}
	d.Bus.Fail(bus.ErrDeadline)
	retry(d.post(t, "T/telemetry", `{"t":1}`), 503, 2)
	d.Bus.Fail(nil)
	d.Bus.SetFull(true)
	retry(d.post(t, "T/telemetry", `{"t":1}`), 503, 2)
	d.Bus.SetFull(false)
	if a := d.post(t, "T/telemetry", `{"t":1}`); a.status != 200 { // the one there was no room for does not count
		t.Errorf("%d %s", a.status, a.body)
	}
	retry(d.post(t, "T/telemetry", `{"t":1}`), 429, 33)
}

// The headers of a request are bounded in size and time.
func TestHostileHeaders(t *testing.T) {
	d := openDoor(t, func(c *Config) { c.HeaderTimeout, c.MaxHeaderBytes = 50*time.Millisecond, 1024 }, nil)
	address := strings.TrimSuffix(strings.TrimPrefix(d.base, "http://"), "/api/v1/")
	for name, send := range map[string]string{
		"never ends": "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\n",
		"too large":  "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"no HTTP":    "\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, send) // it may be closed already
		answer, err := io.ReadAll(conn)
		if len(answer) > 0 && strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("%s: %s", name, answer)
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
		conn.Close()
	}
	if a := d.post(t, "T/telemetry", `{"t":1}`); a.status != 200 {
		t.Errorf("an honest device: %d", a.status)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	d := openDoor(t, func(c *Config) { c.Connections = 1 }, nil)
	address := strings.TrimSuffix(strings.TrimPrefix(d.base, "http://"), "/api/v1/")
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"t\":1}")
		return conn
	}
	answered := func(conn net.Conn, within time.Duration) bool {
		if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		return err == nil && strings.Contains(line, "200")
	}
	first := dial()
	if !answered(first, 20*time.Second) {
		t.Fatal("the first connection is not served")
	}
	second := dial()
	defer second.Close()
	if answered(second, 50*time.Millisecond) {
		t.Error("a second connection is served beside the first")
	}
	first.Close()
	if !answered(second, 20*time.Second) {
		t.Error("the second connection is not served after the first")
	}
}

func TestServiceWithoutListener(t *testing.T) {
	c := defaults(t)
	c.Listen = ""
	r := transporttest.Start(t, nil)
	base, stop := serve(t, c, r.Transport)
	stop()
	if base != "http:///api/v1/" {
		t.Errorf("address is %q", base)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"http-max-body":    func(c *Config) { c.MaxBodyBytes = 0 },
		"http-retry-after": func(c *Config) { c.RetryAfter = time.Millisecond },
	} {
		c := defaults(t)
		change(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
}
