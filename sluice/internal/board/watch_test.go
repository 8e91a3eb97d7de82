package board

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// platform answers as REST and WebSocket do, for one device; its first WebSocket ends early.
func platform(t *testing.T) *httptest.Server {
	var connections atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/auth/login", func(w http.ResponseWriter, r *http.Request) {
		var credentials struct{ Username, Password string }
		if err := json.NewDecoder(r.Body).Decode(&credentials); err != nil || credentials.Username != "u" || credentials.Password != "p" {
			t.Errorf("login as %+v: %v", credentials, err)
		}
		io.WriteString(w, `{"token":"JWT","refreshToken":"R"}`)
	})
	mux.HandleFunc("GET /api/tenant/devices", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Authorization") != "Bearer JWT" {
			t.Error("devices were asked for without the token")
		}
		io.WriteString(w, `{"data":[{"id":{"entityType":"DEVICE","id":"1-2"},"name":"T1"}],"totalPages":1}`)
	})
	mux.HandleFunc("GET /api/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		_, frame, err := conn.Read(r.Context())
		var s subscription
		if err != nil || json.Unmarshal(frame, &s) != nil || s.Auth.Token != "JWT" || len(s.Commands) != 1 || s.Commands[0].EntityID != "1-2" {
			t.Errorf("subscribed with %s: %v", frame, err)
		}
		send := func(frame string) { conn.Write(r.Context(), websocket.MessageText, []byte(frame)) }
		send(`{"subscriptionId":1,"errorCode":0,"errorMsg":null,"data":{"absent":[[1700000000000,null]],"temp":[[1700000000000,"1.0"]]},"latestValues":{"temp":1}}`)
		if connections.Add(1) == 1 {
			send(`{"subscriptionId":1,"errorCode":1,"errorMsg":"internal","data":null}`)
			return
		}
		send(`{"subscriptionId":1,"errorCode":0,"data":{"temp":[[1700000000001,"2.0"]]}}`)
		<-conn.CloseRead(r.Context()).Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestWatch(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	board := &Board{}
	watcher := &Watcher{Base: platform(t).URL, User: "u", Password: "p", Board: board, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	deadline := time.After(20 * time.Second)
	for {
		if rows := board.rows(); len(rows) == 1 && rows[0].value == "2.0" {
			if r := rows[0]; r.device != "T1" || r.key != "temp" || r.time.UnixMilli() != 1700000000001 {
				t.Errorf("got %+v", r)
			}
			break
		}
		select {
		case <-deadline:
			t.Fatalf("got %+v", board.rows())
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPointsThatAreNone(t *testing.T) {
	for _, text := range []string{`{}`, `[1]`, `["x","y"]`, `[1,2]`} {
		var p point
		if err := json.Unmarshal([]byte(text), &p); err == nil {
			t.Errorf("%s passes for a point", text)
		}
	}
}
