package system

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

const (
	watchedDevices = 200
	watchedPause   = 400 * time.Millisecond // between readings of one device
)

// TestWatcherMissesNothing has one person watch 200 devices on one WebSocket while they publish,
// and holds what was shown against what a query finds.
func TestWatcherMissesNothing(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	devices := newDevices(ctx, t, platform.Doors(), tenant, watchedDevices)
	for _, device := range devices.firmware {
		device.Pause = watchedPause
	}
	seen := watch(ctx, t, tenant, platform.Doors().HTTP, devices.ids)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 10*watchedDevices)
	stop()
	devices.check(ctx, t, tenant)
	stored := 0
	for i, id := range devices.ids {
		rows, err := tenant.Rows(ctx, id, "n")
		if err != nil {
			t.Fatal(err)
		}
		stored += len(rows)
		eventually(ctx, t, 5*time.Second, func() error {
			for _, row := range rows {
				if !slices.Contains(seen(i), row) {
					return fmt.Errorf("%s: reading %+v of %d was never shown", devices.firmware[i].Account.Name, row, len(rows))
				}
			}
			return nil
		})
	}
	t.Logf("%d readings stored, all shown", stored)
}

// watch subscribes to the series n of all devices and waits until each subscription was answered. What it returns tells
// the readings shown so far of the device with that index.
func watch(ctx context.Context, t *testing.T, tenant *Tenant, address string, devices []string) (seen func(int) []ledger.Row) {
	t.Helper()
	socket, answer, err := websocket.Dial(ctx, "ws://"+address+"/api/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body != nil {
		answer.Body.Close()
	}
	socket.SetReadLimit(1 << 20)
	commands := make([]map[string]any, len(devices))
	for i, id := range devices {
		commands[i] = map[string]any{
			"type": "TIMESERIES", "cmdId": i + 1, "entityType": "DEVICE", "entityId": id, "keys": "n", "scope": "LATEST_TELEMETRY",
		}
	}
	send := func(frame map[string]any) {
		text, err := json.Marshal(frame)
		if err == nil {
			err = socket.Write(ctx, websocket.MessageText, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send(map[string]any{"authCmd": map[string]any{"cmdId": 0, "token": tenant.token}})
	for chunk := range slices.Chunk(commands, 50) {
		send(map[string]any{"cmds": chunk})
	}
	var mu sync.Mutex
	shown := make([][]ledger.Row, len(devices))
	answered, all := 0, make(chan struct{})
	var reading sync.WaitGroup
	t.Cleanup(func() {
		socket.CloseNow()
		reading.Wait()
	})
	reading.Go(func() {
		for {
			_, text, err := socket.Read(ctx)
			if err != nil {
				return
			}
			id, rows, err := shownRows(text)
			if err != nil {
				t.Errorf("frame %s: %v", text, err)
				return
			}
			mu.Lock()
			if id > 0 {
				shown[id-1] = append(shown[id-1], rows...)
				if answered++; answered == len(devices) {
					close(all)
				}
			}
			mu.Unlock()
		}
	})
	select {
	case <-all:
	case <-ctx.Done():
		t.Fatal("not every subscription was answered")
	}
	return func(device int) []ledger.Row {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(shown[device])
	}
}

// shownRows reads one update.
func shownRows(text []byte) (id int, rows []ledger.Row, err error) {
	var update struct {
		SubscriptionID int
		ErrorCode      int
		ErrorMsg       *string
		Data           map[string][][2]any
	}
	if err := json.Unmarshal(text, &update); err != nil {
		return 0, nil, err
	}
	if update.ErrorCode != 0 {
		return 0, nil, fmt.Errorf("error %d", update.ErrorCode)
	}
	for _, point := range update.Data["n"] {
		at, _ := point[0].(float64)
		value, ok := point[1].(string)
		if !ok {
			continue // there is none yet
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, nil, err
		}
		rows = append(rows, ledger.Row{Time: int64(at), N: n})
	}
	return update.SubscriptionID, rows, nil
}
