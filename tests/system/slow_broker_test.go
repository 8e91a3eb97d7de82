//go:build fleet

package system

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	queueBytes  = 4 << 20  // of each transport, per topic
	memoryBound = 96 << 10 // kB by which a transport may grow while the broker stands
)

// TestFaultSlowBroker (F9) has Kafka stand while ten times the ordinary load comes in: transports grow by no more than
// their bounds, refuse in their protocols' terms, and are as before when Kafka goes on.
func TestFaultSlowBroker(t *testing.T) {
	ctx, s := newScene(t, "F9", shared(t), FleetOptions{Flags: []string{
		fmt.Sprintf("--bus-queue-bytes=%d", queueBytes), "--bus-publish-deadline=3s",
	}})
	ordinary := s.rate(ctx, 2*time.Second)
	tokens := newStrangers(ctx, t, s.tenant, 17)
	var knowing sync.WaitGroup
	for _, token := range tokens { // transports know them when there is nobody to ask
		knowing.Go(func() {
			if err := Probe(ctx, s.fleet.Doors(), token).Accepted(); err != nil {
				t.Error(err)
			}
		})
	}
	knowing.Wait()
	token := tokens[0]
	before := s.residents(ctx)
	broker := s.fleet.Parts.Kafka.Brokers[0]
	pause := lasting(8*time.Second, 30*time.Second)
	if err := broker.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	end := flood(ctx, s.fleet.Doors(), tokens[1:])
	assertStands(ctx, t, s.devices)
	time.Sleep(time.Second)
	eventually(ctx, t, 20*time.Second, func() error { return Probe(ctx, s.fleet.Doors(), token).Refused() })
	time.Sleep(time.Until(began.Add(pause)))
	worst := s.residents(ctx)
	offered := float64(end()) / time.Since(began).Seconds()
	if err := broker.Continue(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if offered < 10*ordinary {
		t.Errorf("%.0f messages a second were offered, ordinarily %.0f: not ten times as many", offered, ordinary)
	}
	for i, role := range s.fleet.transports() {
		if grown := worst[i] - before[i]; grown > memoryBound {
			t.Errorf("%s grew by %d kB", role.Name, grown)
		}
		t.Logf("%s: %d kB before, %d kB when the broker had stood for %s", role.Name, before[i], worst[i], pause)
	}
	eventually(ctx, t, 20*time.Second, func() error { return Probe(ctx, s.fleet.Doors(), token).Accepted() })
	t.Logf("offered %.0f/s, ordinarily %.0f/s; accepted again %s after Kafka went on", offered, ordinary, time.Since(back).Round(10*time.Millisecond))
	s.judge(ctx, fmt.Sprintf("Kafka paused (SIGSTOP) for %s under ten times the load", pause), 1)
}

// residents is the memory of each transport, in kB.
func (s *scene) residents(ctx context.Context) (all []int) {
	s.t.Helper()
	for _, role := range s.fleet.transports() {
		m, err := role.Metrics(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, int(m["process_resident_memory_bytes"])/1024)
	}
	return all
}

// flood offers messages of each device by MQTT, as fast as they are read, and by HTTP. Calling what it returns ends that and tells how
// many were handed over or refused.
func flood(ctx context.Context, doors Doors, tokens []string) (end func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	var offered atomic.Int64
	var flooding sync.WaitGroup
	reading := fmt.Appendf(nil, `{"flood":"%s"}`, bytes.Repeat([]byte("x"), 1000))
	for _, token := range tokens {
		flooding.Go(func() {
			for ctx.Err() == nil {
				offered.Add(floodMQTT(ctx, doors.MQTT, token, reading))
			}
		})
		flooding.Go(func() {
			client := http.Client{Timeout: answerTime}
			for ctx.Err() == nil {
				answer, err := client.Post("http://"+doors.HTTP+"/api/v1/"+token+"/telemetry", "application/json", bytes.NewReader(reading))
				if err == nil {
					answer.Body.Close()
					offered.Add(1)
				}
			}
		})
	}
	return func() int64 {
		cancel()
		flooding.Wait()
		return offered.Load()
	}
}

// floodMQTT publishes on one connection until that is closed, or too slow.
func floodMQTT(ctx context.Context, address, token string, reading []byte) (offered int64) {
	conn, code, err := dialMQTT(ctx, address, token, 4)
	if err != nil || code != 0 {
		time.Sleep(50 * time.Millisecond)
		return 0
	}
	defer conn.Close()
	var batch []byte
	for i := range uint16(50) {
		batch = appendPublish(batch, "v1/devices/me/telemetry", i+1, reading)
	}
	for ctx.Err() == nil {
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return offered
		}
		if _, err := conn.Write(batch); err != nil {
			return offered
		}
		offered += 50
	}
	return offered
}
