package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	inside "github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

var parseFrame = inside.ParseFrame

// TestCase88Sessions: one session more than allowed is closed, the first unaffected.
func TestCase88Sessions(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.TenantSessions, o.WebSocket.UserSessions = 2, 1 })
	first := open(t, w.Platform, legacyPath)
	w.subscribe(first, 1, "")
	first.expect(1, map[string]string{})
	customer := w.Customer(t).Token
	users := dial(t, w.Platform, legacyPath+"?token="+customer)
	users.send(`{}`)
	users.send(`{`)
	users.expectError(1, 2)
	dial(t, w.Platform, legacyPath+"?token="+customer).expectClose(1008)
	open(t, w.Platform, legacyPath).expectClose(1008)
	w.save(1, long("k", 1))
	first.expect(1, map[string]string{"k": "1=1"})
	if err := users.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		again := open(t, w.Platform, legacyPath)
		again.send(`{`)
		if _, err := again.read(); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a session that ended is not given to another")
		}
	}
}

func TestNodeLimit(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.MaxSessions = 1 })
	open(t, w.Platform, legacyPath)
	_, response, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(w.URL, "http")+legacyPath, nil)
	if err == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("dial: %v, want 503", err)
	}
}

func TestSubscriptionLimit(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.Subscriptions = 2 })
	s := open(t, w.Platform, legacyPath)
	for id := range 2 {
		w.subscribe(s, id, "")
		s.expect(int64(id), map[string]string{})
	}
	w.subscribe(s, 1, "") // in place of itself
	s.expect(1, map[string]string{})
	w.subscribe(s, 2, "")
	s.expectClose(1008)
}

func TestKeyLimit(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.Keys = 3 })
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, latestScope)
	s.expect(1, map[string]string{})
	w.save(1, long("a", 1), long("b", 1), long("c", 1))
	w.save(2, long("d", 1))
	s.expectClose(1008)
}

func TestFrameLimit(t *testing.T) {
	w := start(t)
	s := open(t, w.Platform, legacyPath)
	s.send(`{"x":%q}`, strings.Repeat("x", 32<<10))
	s.expectClose(websocket.StatusMessageTooBig)
}

func TestUpdateRate(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.UpdatesPerSecond = 5 })
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, "")
	s.expect(1, map[string]string{})
	for i := range int64(50) {
		w.save(i, long("k", i))
	}
	for range 5 {
		if m := s.next(); m.ErrorCode != 0 {
			t.Fatalf("frame %+v within the rate", m)
		}
	}
	s.expectError(1, 34)
	time.Sleep(300 * time.Millisecond)
	w.save(100, long("k", 100))
	s.expect(1, map[string]string{"k": "100=100"})
}

// TestSlowClient: saving never waits for a client; the client gets the newest values, then is closed.
func TestSlowClient(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) {
		o.WebSocket.SlowAfter, o.WebSocket.WriteTimeout = 300*time.Millisecond, 20*time.Second
		o.WebSocket.Pending, o.WebSocket.PendingBytes = 100, 64<<20
	})
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, "")
	s.expect(1, map[string]string{})
	const saves = 600
	large := strings.Repeat("x", 64<<10)
	begin := time.Now()
	for i := range int64(saves) {
		w.save(i, telemetry.KeyValue{Key: "k", Value: telemetry.OfString(fmt.Sprint(i, large))})
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("saving took %v: the client held it up", took)
	}
	time.Sleep(400 * time.Millisecond)
	frames, newest := 0, ""
	for {
		data, err := s.read()
		if err != nil {
			if websocket.CloseStatus(err) != 1008 {
				t.Errorf("closed with %v, want 1008", err)
			}
			break
		}
		frames, newest = frames+1, string(data[:min(len(data), 100)])
	}
	if frames == 0 || frames >= saves {
		t.Errorf("%d of %d updates were sent, the last %s", frames, saves, newest)
	}
}

// TestPendingLimit: what waits is bounded by frames, where merging does not help.
func TestPendingLimit(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.PendingBytes = 1 << 20 })
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, "")
	s.expect(1, map[string]string{})
	large := strings.Repeat("x", 256<<10)
	for i := range 64 {
		w.save(1, telemetry.KeyValue{Key: fmt.Sprint(i), Value: telemetry.OfString(large)})
	}
	s.expectClose(1008)
}

func TestMergedUpdatesAreTheNewest(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) { o.WebSocket.CoalesceAfter = 1 })
	s := open(t, w.Platform, legacyPath)
	w.subscribe(s, 1, "")
	s.expect(1, map[string]string{})
	const saves = 5000
	for i := range int64(saves) {
		w.save(i, long("k", i), long(fmt.Sprint("k", i%3), i))
	}
	newest := map[string]string{}
	for len(newest) < 4 || newest["k"] != fmt.Sprintf("%d=%d", saves-1, saves-1) {
		for key, value := range s.values(1) {
			newest[key] = value
		}
	}
	for i := range 3 {
		last := saves - 1 - (saves-1-i)%3
		if want := fmt.Sprintf("%d=%d", last, last); newest[fmt.Sprint("k", i)] != want {
			t.Errorf("k%d ended at %s, want %s", i, newest[fmt.Sprint("k", i)], want)
		}
	}
}

// TestNothingIsLostOrDoubledWhileSubscribing: saves race with the first answer.
func TestNothingIsLostOrDoubledWhileSubscribing(t *testing.T) {
	w := start(t, func(o *httpapitest.Options) {
		// Nothing is merged, however slow this machine is.
		o.WebSocket.CoalesceAfter, o.WebSocket.Pending = 1<<20, 1<<20
	})
	s := open(t, w.Platform, legacyPath)
	const saves = 2000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range int64(saves) {
			if context.Cause(t.Context()) != nil {
				return
			}
			w.save(i, long("k", i))
		}
	}()
	time.Sleep(10 * time.Millisecond)
	w.subscribe(s, 1, `,"keys":"k","startTs":0,"timeWindow":100000,"limit":100000`)
	first := s.next()
	seen := len(first.Data["k"])
	for seen < saves {
		m := s.next()
		for _, p := range m.Data["k"] {
			if int(p[0].(float64)) != seen {
				t.Fatalf("point %v follows %d", p, seen-1)
			}
			seen++
		}
	}
	<-done
}
