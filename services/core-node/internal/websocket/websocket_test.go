package websocket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	saved "github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// The numbers of test cases are those of rest-api §7.

// patience is how long a test waits for a frame; silence is how long it waits for none.
const (
	patience = 5 * time.Second
	silence  = 100 * time.Millisecond
)

const legacyPath = "/api/ws/plugins/telemetry"

// socket is a client's end.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, p *httpapitest.Platform, path string) *socket {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(p.URL, "http")+path, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", path, err)
	}
	if response.Body != nil {
		_ = response.Body.Close()
	}
	conn.SetReadLimit(8 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{t, conn}
}

// open is dial for the demo's administrator, logged in by the URL.
func open(t *testing.T, p *httpapitest.Platform, path string) *socket {
	t.Helper()
	return dial(t, p, path+"?token="+p.Admin(t).Token)
}

func (s *socket) send(format string, args ...any) {
	s.t.Helper()
	if err := s.conn.Write(s.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

// message is a v1 update (rest-api §4.4); a value is what it was sent as.
type message struct {
	SubscriptionID int64
	ErrorCode      int
	ErrorMsg       *string
	Data           map[string][][2]any
	LatestValues   map[string]int64
}

func (s *socket) read() ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_, data, err := s.conn.Read(ctx)
	return data, err
}

func (s *socket) next() message {
	s.t.Helper()
	data, err := s.read()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		s.t.Fatalf("decode %s: %v", data, err)
	}
	return m
}

// values reads the next frame as its values by key, each "ts=value".
func (s *socket) values(subscription int64) map[string]string {
	s.t.Helper()
	m := s.next()
	if m.ErrorCode != 0 || m.SubscriptionID != subscription {
		s.t.Fatalf("frame %+v, want one of subscription %d", m, subscription)
	}
	out := map[string]string{}
	for key, points := range m.Data {
		var texts []string
		for _, p := range points {
			texts = append(texts, fmt.Sprintf("%.0f=%v", p[0], p[1]))
		}
		out[key] = strings.Join(texts, " ")
		if last := points[len(points)-1]; m.LatestValues[key] != int64(last[0].(float64)) {
			s.t.Errorf("latest value of %s is %d, the last point %v", key, m.LatestValues[key], last)
		}
	}
	return out
}

func (s *socket) expect(subscription int64, want map[string]string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.values(subscription)); diff != "" {
		s.t.Errorf("frame (-want +got):\n%s", diff)
	}
}

func (s *socket) expectError(subscription int64, code int) {
	s.t.Helper()
	m := s.next()
	if m.SubscriptionID != subscription || m.ErrorCode != code || m.ErrorMsg == nil || m.Data != nil || len(m.LatestValues) != 0 {
		s.t.Fatalf("frame %+v, want error %d of subscription %d", m, code, subscription)
	}
}

// expectClose reads until the server closes.
func (s *socket) expectClose(code websocket.StatusCode) {
	s.t.Helper()
	for {
		data, err := s.read()
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			s.t.Fatalf("closed with %v after %s, want %d", err, data, code)
		}
		return
	}
}

// world is a platform, a device, and a socket that watches.
type world struct {
	*httpapitest.Platform
	t      *testing.T
	tenant ident.TenantID
	device ident.EntityID
}

func start(t *testing.T, change ...func(*httpapitest.Options)) world {
	t.Helper()
	p := httpapitest.Start(t, change...)
	d := p.Demo(t, "Test Device A1")
	return world{p, t, d.Tenant, d.ID.Entity()}
}

func long(key string, n int64) telemetry.KeyValue {
	return telemetry.KeyValue{Key: key, Value: telemetry.OfLong(n)}
}

func (w world) save(at int64, kvs ...telemetry.KeyValue) {
	w.t.Helper()
	if err := w.Owner.SaveTelemetry(w.t.Context(), w.tenant, w.device, []saved.Timed{{Time: at, Values: kvs}}, 0); err != nil {
		w.t.Errorf("save: %v", err)
	}
}

func (w world) saveAttributes(scope storage.Scope, kvs ...telemetry.KeyValue) {
	w.t.Helper()
	if err := w.Owner.SaveAttributes(w.t.Context(), w.tenant, w.device, scope, kvs); err != nil {
		w.t.Fatalf("save attributes: %v", err)
	}
}

func (w world) subscribe(s *socket, id int, extra string) {
	w.t.Helper()
	s.send(`{"tsSubCmds":[{"entityType":"DEVICE","entityId":%q,"cmdId":%d%s}]}`, w.device.ID.String(), id, extra)
}

const latestScope = `,"scope":"LATEST_TELEMETRY"`

func TestCase83LatestTelemetry(t *testing.T) {
	w := start(t)
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 17, latestScope)
	data, err := s.read()
	if want := `{"subscriptionId":17,"errorCode":0,"errorMsg":null,"data":{},"latestValues":{}}`; err != nil || string(data) != want {
		t.Fatalf("first frame %s, %v; want %s", data, err, want)
	}
	w.save(100, long("temp", 25), telemetry.KeyValue{Key: "hum", Value: telemetry.OfDouble(42)},
		telemetry.KeyValue{Key: "ok", Value: telemetry.OfBool(true)}, telemetry.KeyValue{Key: "a", Value: telemetry.OfString(`x"y`)})
	data, err = s.read()
	want := `{"subscriptionId":17,"errorCode":0,"errorMsg":null,"data":{"a":[[100,"x\"y"]],"hum":[[100,"42.0"]],"ok":[[100,"true"]],"temp":[[100,"25"]]},` +
		`"latestValues":{"a":100,"hum":100,"ok":100,"temp":100}}`
	if err != nil || string(data) != want {
		t.Fatalf("frame %s, %v; want %s", data, err, want)
	}
}

func TestCase84OldTimes(t *testing.T) {
	w := start(t)
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, latestScope)
	s.expect(1, map[string]string{})
	in2016 := time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	w.save(in2016, long("k", 1))
	s.expect(1, map[string]string{"k": fmt.Sprintf("%d=1", in2016)})
	w.save(in2016-1, long("k", 2)) // older than the newest known: not sent
	w.save(in2016, long("k", 3))   // as new
	s.expect(1, map[string]string{"k": fmt.Sprintf("%d=3", in2016)})
}

func TestCase85Authentication(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.AuthTimeout = 50 * time.Millisecond })
	token := w.Admin(t).Token
	for _, c := range []struct {
		name, path, frame string
		code              websocket.StatusCode
	}{
		{"no authCmd", "/api/ws", `{"cmds":[]}`, 1008},
		{"bad token", "/api/ws", `{"authCmd":{"cmdId":0,"token":"x"}}`, 1007},
		{"no such key", "/api/ws", `{"authCmd":{"cmdId":0,"apiKey":"x"}}`, 1007},
		{"not JSON", "/api/ws", `{`, 1007},
		{"null", "/api/ws", `null`, 1007},
		{"silence", "/api/ws", "", 1008},
		{"bad token in the URL", "/api/ws?token=x", "", 1011},
		{"bad token of a plugin", legacyPath + "?token=x", "", 1011},
		{"no token of a plugin", legacyPath, "", 1011},
		{"unknown plugin", "/api/ws/plugins/other?token=" + token, "", 1007},
	} {
		s := dial(t, w.Platform, c.path)
		if c.frame != "" {
			s.send("%s", c.frame)
		}
		t.Log(c.name)
		s.expectClose(c.code)
	}
	s := dial(t, w.Platform, "/api/ws")
	s.send(`{"authCmd":{"cmdId":0,"token":%q},"cmds":[{"type":"TIMESERIES","cmdId":3,"entityType":"DEVICE","entityId":%q}]}`, token, w.device.ID)
	s.expect(3, map[string]string{})
	time.Sleep(100 * time.Millisecond) // longer than the time to log in
	w.save(5, long("k", 1))
	s.expect(3, map[string]string{"k": "5=1"})
}

func TestCase89MalformedFrame(t *testing.T) {
	w := start(t)
	for _, path := range []string{"/api/ws", legacyPath} {
		s := open(t, w.Platform, path)
		for _, bad := range []string{`{`, `7`, `null`, `{"cmds":{},"tsSubCmds":{}}`, `{"cmds":[{"cmdId":"x"}],"tsSubCmds":[{"cmdId":"x"}]}`} {
			s.send("%s", bad)
			s.expectError(1, 2)
		}
		s.send(`{"cmds":[],"unknown":7}`)
	}
}

func TestCase89NoPong(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.PingTimeout = 300 * time.Millisecond })
	s := open(t, w.Platform, legacyPath)
	// A client that does not read answers no pings.
	time.Sleep(900 * time.Millisecond)
	s.expectClose(4500)
	lively := open(t, w.Platform, legacyPath)
	w.subscribe(lively, 1, "")
	lively.expect(1, map[string]string{})
	go func() {
		time.Sleep(time.Second)
		w.save(1, long("k", 1))
	}()
	lively.expect(1, map[string]string{"k": "1=1"})
}

func TestSnapshotThenLive(t *testing.T) {
	w := start(t)
	w.save(100, long("a", 1), long("b", 2))
	w.save(200, long("a", 3))
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, "")
	s.expect(1, map[string]string{"a": "200=3", "b": "100=2"})
	w.subscribe(s, 2, `,"keys":"a"`)
	s.expect(2, map[string]string{"a": "200=3"})
	w.subscribe(s, 3, `,"keys":"a","startTs":0,"timeWindow":1000`)
	s.expect(3, map[string]string{"a": "200=3 100=1"})
	w.subscribe(s, 4, `,"keys":"a","startTs":0,"timeWindow":1000,"agg":"SUM","interval":1000`)
	s.expect(4, map[string]string{"a": "500=4"})
	w.save(50, long("a", 9), long("c", 7)) // every saved point, however old
	got := map[int64]map[string]string{}
	for range 4 {
		m := s.next()
		got[m.SubscriptionID] = map[string]string{}
		for key, points := range m.Data {
			got[m.SubscriptionID][key] = fmt.Sprintf("%.0f=%v", points[0][0], points[0][1])
		}
	}
	only := map[string]string{"a": "50=9"}
	want := map[int64]map[string]string{1: {"a": "50=9", "c": "50=7"}, 2: only, 3: only, 4: only}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
}

func TestAbsentKeyShowsNull(t *testing.T) {
	w := start(t)
	s := open(t, w.Platform, legacyPath)
	before := time.Now().UnixMilli()
	w.subscribe(s, 1, latestScope+`,"keys":"none"`)
	m := s.next()
	if p := m.Data["none"]; len(p) != 1 || p[0][1] != nil || int64(p[0][0].(float64)) < before {
		t.Errorf("frame %+v", m)
	}
	w.save(5, long("none", 1)) // the null's time is nobody's
	s.expect(1, map[string]string{"none": "5=1"})
}

func TestAttributes(t *testing.T) {
	w := start(t)
	w.saveAttributes(storage.Client, long("c", 1))
	w.saveAttributes(storage.Shared, long("s", 2))
	s := open(t, w.Platform, legacyPath)
	follow := func(id int, extra string) map[string]string {
		s.send(`{"attrSubCmds":[{"entityType":"DEVICE","entityId":%q,"cmdId":%d%s}]}`, w.device.ID, id, extra)
		return withoutTimes(s.values(int64(id)))
	}
	for i, c := range []struct {
		extra string
		want  map[string]string
	}{
		{"", map[string]string{"c": "1", "s": "2"}},
		{`,"scope":"CLIENT_SCOPE"`, map[string]string{"c": "1"}},
		{`,"keys":"s,other"`, map[string]string{"s": "2"}},
		{`,"scope":"SERVER_SCOPE"`, map[string]string{}},
	} {
		if diff := cmp.Diff(c.want, follow(10+i, c.extra)); diff != "" {
			t.Errorf("first answer for %q (-want +got):\n%s", c.extra, diff)
		}
	}
	w.saveAttributes(storage.Server, long("x", 3))
	got := map[int64]bool{s.next().SubscriptionID: true, s.next().SubscriptionID: true}
	if !got[10] || !got[13] {
		t.Errorf("a server attribute reached subscriptions %v", got)
	}
	if err := w.Owner.DeleteAttributes(t.Context(), w.tenant, w.device, storage.Client, []string{"c"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m := s.next(); m.SubscriptionID == 10 || m.SubscriptionID == 11 {
			if p := m.Data["c"]; len(p) != 1 || p[0] != [2]any{0.0, ""} {
				t.Errorf("a deleted attribute is %v", m.Data)
			}
		}
	}
}

func withoutTimes(values map[string]string) map[string]string {
	out := map[string]string{}
	for key, text := range values {
		_, out[key], _ = strings.Cut(text, "=")
	}
	return out
}

func TestHistory(t *testing.T) {
	w := start(t)
	for i := range int64(150) {
		w.save(i, long("k", i))
	}
	s := open(t, w.Platform, "/api/ws")
	ask := func(id int, extra string) {
		s.send(`{"cmds":[{"type":"TIMESERIES_HISTORY","entityType":"DEVICE","entityId":%q,"cmdId":%d%s}]}`, w.device.ID, id, extra)
	}
	ask(1, `,"keys":"k,none","startTs":0,"endTs":150`)
	m := s.next()
	if len(m.Data["k"]) != 100 || m.Data["none"] != nil || m.Data["k"][0][1] != "149" {
		t.Errorf("%d points from %v, %v", len(m.Data["k"]), m.Data["k"][0], m.Data["none"])
	}
	ask(2, `,"keys":"k","startTs":0,"endTs":150,"limit":2`)
	s.expect(2, map[string]string{"k": "149=149 148=148"})
	ask(3, `,"keys":"k","startTs":0,"endTs":150,"agg":"MAX","interval":100`)
	s.expect(3, map[string]string{"k": "50=99 125=149"})
	ask(4, `,"startTs":0,"endTs":150`)
	s.expectError(4, 2)
	ask(5, `,"keys":"k","startTs":0,"endTs":800000,"agg":"MAX","interval":1`)
	s.expectError(5, 2)
	ask(6, `,"keys":"k","startTs":0,"endTs":1,"agg":"FOO"`)
	s.expectError(6, 2)
	w.save(151, long("k", 151))
	if data, ok := s.within(silence); ok {
		t.Errorf("a history command went on: %s", data)
	}
}

// within reads a frame that should not come. The socket is of no use after.
func (s *socket) within(wait time.Duration) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	_, data, err := s.conn.Read(ctx)
	return data, !errors.Is(err, context.DeadlineExceeded)
}

func TestUnsubscribe(t *testing.T) {
	w := start(t)
	s := open(t, w.Platform, "/api/ws")
	command := func(id int, extra string) {
		s.send(`{"cmds":[{"type":"TIMESERIES","cmdId":%d%s}]}`, id, extra)
	}
	device := fmt.Sprintf(`,"entityType":"DEVICE","entityId":%q`, w.device.ID)
	for id := range 3 {
		command(id, device)
		s.expect(int64(id), map[string]string{})
	}
	command(0, device) // the same id again replaces the subscription
	s.expect(0, map[string]string{})
	command(1, device+`,"unsubscribe":true`)
	command(9, device+`,"unsubscribe":true`) // of nothing
	command(3, device)
	s.expect(3, map[string]string{})
	w.save(5, long("k", 1))
	got := map[int64]bool{}
	for range 3 {
		got[s.next().SubscriptionID] = true
	}
	if diff := cmp.Diff(map[int64]bool{0: true, 2: true, 3: true}, got); diff != "" {
		t.Errorf("who was told (-want +got):\n%s", diff)
	}
	command(7, `,"unsubscribe":true`) // of everything
	command(8, `,"unsubscribe":false`)
	s.expectError(8, 2)
	if w.Hub.Watched(w.device) {
		t.Error("the device is still watched")
	}
}

func TestBadCommands(t *testing.T) {
	w := start(t)
	s := open(t, w.Platform, "/api/ws")
	foreign, _ := w.Tenant(t, "Other", "other@example.org", "secret-1")
	for i, c := range []struct {
		fields string
		code   int
	}{
		{`"type":"ENTITY_DATA"`, 2},
		{`"type":""`, 2},
		{`"type":"TIMESERIES"`, 2},
		{`"type":"TIMESERIES","entityType":"FOO","entityId":"x"`, 2},
		{`"type":"TIMESERIES","entityType":"DEVICE","entityId":"x"`, 2},
		{fmt.Sprintf(`"type":"ATTRIBUTES","scope":"FOO","entityType":"DEVICE","entityId":%q`, w.device.ID), 2},
		{fmt.Sprintf(`"type":"TIMESERIES","keys":"k","timeWindow":5,"limit":-1,"entityType":"DEVICE","entityId":%q`, w.device.ID), 2},
		{fmt.Sprintf(`"type":"TIMESERIES","entityType":"DEVICE","entityId":%q`, ident.New()), 1},
		{fmt.Sprintf(`"type":"ATTRIBUTES","entityType":"TENANT","entityId":%q`, foreign), 1},
	} {
		s.send(`{"cmds":[{"cmdId":%d,%s}]}`, 10+i, c.fields)
		s.expectError(int64(10+i), c.code)
	}
	s.send(`{"cmds":[{"cmdId":-5,"type":"TIMESERIES"}]}`)
	s.expectError(-5, 2)
}

// TestStrangersSeeNothing is case 26 of rest-api §7.
func TestStrangersSeeNothing(t *testing.T) {
	w := start(t)
	w.Tenant(t, "Other", "other@example.org", "secret-1")
	w.saveAttributes(storage.Shared, long("a", 1))
	token := w.Login(t, "other@example.org", "secret-1").Token
	s := dial(t, w.Platform, "/api/ws?token="+token)
	for i, kind := range []string{"ATTRIBUTES", "TIMESERIES", "TIMESERIES_HISTORY"} {
		s.send(`{"cmds":[{"type":%q,"cmdId":%d,"keys":"a","entityType":"DEVICE","entityId":%q}]}`, kind, i, w.device.ID)
		s.expectError(int64(i), 1)
	}
	w.saveAttributes(storage.Shared, long("a", 2))
	w.save(5, long("a", 3))
	if data, ok := s.within(silence); ok {
		t.Errorf("a stranger was told %s", data)
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		`{"authCmd":{"cmdId":0,"token":"x"},"cmds":[{"type":"TIMESERIES","entityType":"DEVICE","entityId":"13814000-1dd2-11b2-8080-808080808080","keys":"a,b","cmdId":1}]}`,
		`{"tsSubCmds":[{"entityType":"DEVICE","entityId":"x","scope":"LATEST_TELEMETRY","cmdId":17}],"attrSubCmds":[{}],"historyCmds":null}`,
		`{"cmds":[{"cmdId":1e9}]}`, `{"cmds":[null]}`, `null`, `[]`, `{`, `{"cmds":[{"limit":99999999999999999999}]}`, `{"tsSubCmds":{}}`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, legacy bool) {
		commands, err := parseFrame(data, legacy)
		if err != nil && commands != 0 {
			t.Fatalf("%q has an error and %d commands", data, commands)
		}
	})
}
