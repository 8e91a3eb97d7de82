package board

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	maxWatched    = 100     // devices
	maxAnswer     = 4 << 20 // bytes of a REST answer or WebSocket frame
	answerTimeout = 10 * time.Second
	retryAfter    = time.Second
)

// Watcher follows a tenant's devices as a browser does: REST for their names, one WebSocket
// for every value saved.
type Watcher struct {
	Base           string // of REST and WebSocket: http://host:port
	User, Password string
	Board          *Board
	Log            *slog.Logger
}

// Run watches until ctx ends, connecting again when the connection is lost.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		err := w.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.Log.Warn("the board's connection ended", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// device is one of a page of devices; the fields are the REST API's.
type device struct {
	ID struct {
		ID string `json:"id"`
	} `json:"id"`
	Name string `json:"name"`
}

// command subscribes to the latest telemetry of a device.
type command struct {
	Type       string `json:"type"`
	CmdID      int    `json:"cmdId"`
	EntityType string `json:"entityType"`
	EntityID   string `json:"entityId"`
	Scope      string `json:"scope"`
}

type subscription struct {
	Auth struct {
		CmdID int    `json:"cmdId"`
		Token string `json:"token"`
	} `json:"authCmd"`
	Commands []command `json:"cmds"`
}

// update is one frame of a subscription: by key, points of [time, text].
type update struct {
	SubscriptionID int                `json:"subscriptionId"`
	ErrorCode      int                `json:"errorCode"`
	ErrorMsg       string             `json:"errorMsg"`
	Data           map[string][]point `json:"data"`
}

// point is [time in ms, value]; the value is text, or null when there is none.
type point struct {
	time  time.Time
	value *string
}

func (p *point) UnmarshalJSON(text []byte) error {
	var (
		pair [2]json.RawMessage
		ms   int64
	)
	if err := json.Unmarshal(text, &pair); err != nil {
		return fmt.Errorf("point %s: %w", text, err)
	}
	if err := errors.Join(json.Unmarshal(pair[0], &ms), json.Unmarshal(pair[1], &p.value)); err != nil {
		return fmt.Errorf("point %s: %w", text, err)
	}
	p.time = time.UnixMilli(ms)
	return nil
}

func (w *Watcher) watch(ctx context.Context) error {
	setup, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	token, err := w.login(setup)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	var page struct {
		Data []device `json:"data"`
	}
	path := fmt.Sprintf("/api/tenant/devices?pageSize=%d&page=0", maxWatched)
	if err := w.ask(setup, http.MethodGet, path, token, nil, &page); err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	conn, _, err := websocket.Dial(setup, "ws"+strings.TrimPrefix(w.Base, "http")+"/api/ws", nil)
	if err != nil {
		return fmt.Errorf("open the WebSocket: %w", err)
	}
	defer func() { _ = conn.CloseNow() }() // whatever else it could report has been returned
	conn.SetReadLimit(maxAnswer)
	if err := subscribe(setup, conn, token, page.Data); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return w.follow(ctx, conn, page.Data)
}

func subscribe(ctx context.Context, conn *websocket.Conn, token string, devices []device) error {
	var s subscription
	s.Auth.Token = token
	for i, d := range devices {
		s.Commands = append(s.Commands, command{
			Type: "TIMESERIES", CmdID: i + 1, EntityType: "DEVICE", EntityID: d.ID.ID, Scope: "LATEST_TELEMETRY",
		})
	}
	frame, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, frame)
}

// follow shows every update that comes.
func (w *Watcher) follow(ctx context.Context, conn *websocket.Conn, devices []device) error {
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("read an update: %w", err)
		}
		var u update
		if err := json.Unmarshal(frame, &u); err != nil {
			return fmt.Errorf("read an update: %w", err)
		}
		if u.ErrorCode != 0 || u.SubscriptionID < 1 || u.SubscriptionID > len(devices) {
			return fmt.Errorf("subscription %d: error %d %s", u.SubscriptionID, u.ErrorCode, u.ErrorMsg)
		}
		for key, points := range u.Data {
			for _, p := range points {
				if p.value != nil {
					w.Board.Show(devices[u.SubscriptionID-1].Name, key, *p.value, p.time)
				}
			}
		}
	}
}

func (w *Watcher) login(ctx context.Context) (token string, err error) {
	var tokens struct {
		Token string `json:"token"`
	}
	credentials := map[string]string{"username": w.User, "password": w.Password}
	err = w.ask(ctx, http.MethodPost, "/api/auth/login", "", credentials, &tokens)
	return tokens.Token, err
}

// ask makes one REST call.
func (w *Watcher) ask(ctx context.Context, method, path, token string, body, answer any) (err error) {
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, w.Base+path, &in)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("X-Authorization", "Bearer "+token)
	}
	request.Close = true // asked once per connection of the WebSocket
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s: %s", response.Status, text)
	}
	return json.Unmarshal(text, answer)
}
