//go:build fleet

package system

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/load"
)

const (
	answeringDevices = 100
	requestsEach     = 12
	requestPause     = 4 * time.Millisecond // between requests, over all devices
)

// TestFaultTransportKilledUnderRequests (F23) sends persistent requests to devices while MQTT transports are killed one after the
// other: every request is delivered, and answered, in the end.
func TestFaultTransportKilledUnderRequests(t *testing.T) {
	ctx, s := newScene(t, "F23", shared(t), FleetOptions{})
	tokens := make([]string, answeringDevices)
	for i := range tokens {
		tokens[i] = unique("A")
	}
	ids, err := s.tenant.NewDevices(ctx, unique("answering"), tokens)
	if err != nil {
		t.Fatal(err)
	}
	stop := answerAll(ctx, s.fleet.Doors().MQTT, tokens)
	t.Cleanup(stop)
	kills := often(1, 20)
	asked := make(chan []string, 1)
	go func() { asked <- s.askAll(ctx, ids, kills) }()
	for i := range kills {
		transport := s.fleet.MQTT[i%len(s.fleet.MQTT)]
		time.Sleep(time.Second) // requests are on their way
		transport.Kill()
		time.Sleep(time.Second)
		s.mustStart(ctx, transport)
		s.goOn(ctx)
	}
	requests := <-asked
	began := time.Now()
	statuses := map[string]int{}
	for _, id := range requests {
		eventually(ctx, t, time.Minute, func() error {
			status, err := s.requestStatus(ctx, id)
			if err == nil && status != "SUCCESSFUL" {
				err = fmt.Errorf("request %s is %s", id, status)
			}
			return err
		})
		statuses["SUCCESSFUL"]++
	}
	t.Logf("%d persistent requests over %d kills of transports: %v, the last seen after %s",
		len(requests), kills, statuses, time.Since(began).Round(10*time.Millisecond))
	if want := answeringDevices * requestsEach * kills / 3; len(requests) != want {
		t.Errorf("%d requests were taken on, want %d", len(requests), want)
	}
	s.judge(ctx, fmt.Sprintf("an MQTT transport of two killed, %d persistent requests to devices on their way", len(requests)), kills)
}

// answerAll connects devices that answer requests, and come back when their connection is lost, until stop.
func answerAll(ctx context.Context, address string, tokens []string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, token := range tokens {
		running.Go(func() {
			for ctx.Err() == nil {
				device, err := load.Answer(ctx, address, token)
				if err != nil {
					time.Sleep(100 * time.Millisecond)
					continue
				}
				left := context.AfterFunc(ctx, func() { _ = device.Close() }) // its end is what is wanted
				_ = device.Wait()                                             // it comes back whatever the reason
				left()
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// askAll sends persistent requests to devices in turns, those refused again, and returns the ids of all taken on.
func (s *scene) askAll(ctx context.Context, devices []string, kills int) (taken []string) {
	for i := range len(devices) * requestsEach * kills / 3 {
		body := map[string]any{
			"method": "setValue", "params": map[string]any{"n": i}, "persistent": true,
			"expirationTime": time.Now().Add(10 * time.Minute).UnixMilli(),
		}
		for ctx.Err() == nil {
			var answer struct{ RPCID string }
			err := s.tenant.call(ctx, http.MethodPost, "/api/rpc/twoway/"+devices[i%len(devices)], body, &answer)
			if err == nil && answer.RPCID == "" {
				err = errors.New("no id")
			}
			if err == nil {
				taken = append(taken, answer.RPCID)
				break
			}
			s.t.Logf("request %d was refused: %v", i, err)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(requestPause)
	}
	return taken
}

func (s *scene) requestStatus(ctx context.Context, id string) (string, error) {
	var request struct{ Status string }
	err := s.tenant.call(ctx, http.MethodGet, "/api/rpc/persistent/"+id, nil, &request)
	return request.Status, err
}
