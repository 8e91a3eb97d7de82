//go:build fleet

package system

import (
	"bytes"
	"context"
	"fmt"
	"net"
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
	token := tokens[0]
	if err := Probe(ctx, s.fleet.Doors(), token).Accepted(); err != nil {
		t.Fatal(err)
	}
	flooders := newFlooders(ctx, t, s.fleet.Doors(), tokens[1:])
	before := s.residents(ctx)
	broker := s.fleet.Parts.Kafka.Brokers[0]
	pause := lasting(8*time.Second, 30*time.Second)
	if err := broker.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	end := flood(ctx, s.fleet.Doors(), flooders)
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

// flooder is a device that sends without waiting for answers.
type flooder struct {
	token string
	conn  net.Conn // on MQTT
}

// newFlooders connects them, which takes a broker that answers.
func newFlooders(ctx context.Context, t *testing.T, doors Doors, tokens []string) (all []flooder) {
	t.Helper()
	for _, token := range tokens {
		conn, code, err := dialMQTT(ctx, doors.MQTT, token, 4)
		if err != nil || code != 0 {
			t.Fatalf("connect: code %d, %v", code, err)
		}
		t.Cleanup(func() { conn.Close() })
		if answer := probeHTTP(ctx, doors.HTTP, token, []byte(`{"probe":1}`)); answer != "200" {
			t.Fatal(answer)
		}
		all = append(all, flooder{token: token, conn: conn})
	}
	return all
}

// flood has all of them send by MQTT as fast as they are read, and by HTTP as often as they are answered. Calling what it returns
// ends that and tells how many messages were sent.
func flood(ctx context.Context, doors Doors, flooders []flooder) (end func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	var offered atomic.Int64
	var flooding sync.WaitGroup
	reading := fmt.Appendf(nil, `{"flood":"%s"}`, bytes.Repeat([]byte("x"), 200))
	for _, f := range flooders {
		flooding.Go(func() { f.publish(ctx, &offered, reading) })
		flooding.Go(func() {
			client := http.Client{Timeout: answerTime}
			for ctx.Err() == nil {
				answer, err := client.Post("http://"+doors.HTTP+"/api/v1/"+f.token+"/telemetry", "application/json", bytes.NewReader(reading))
				offered.Add(1)
				if err == nil {
					answer.Body.Close()
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

// publish writes until ctx ends or the connection does.
func (f flooder) publish(ctx context.Context, offered *atomic.Int64, reading []byte) {
	_ = f.conn.SetDeadline(time.Time{}) // it cannot fail on an open connection
	defer context.AfterFunc(ctx, func() { f.conn.Close() })()
	var batch []byte
	const at = 50
	for i := range uint16(at) {
		batch = appendPublish(batch, "v1/devices/me/telemetry", i+1, reading)
	}
	for {
		if _, err := f.conn.Write(batch); err != nil {
			return
		}
		offered.Add(at)
	}
}
