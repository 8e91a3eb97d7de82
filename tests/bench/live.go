package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/tests/load"
)

const (
	watchedPerSecond = 50
	othersPerSecond  = 1000
	others           = 20
)

// liveRows are row g: how long a reading takes from a device's socket to a WebSocket client,
// alone and beside the traffic of other devices.
func (b *bench) liveRows() []row {
	var rows []row
	for i, background := range []float64{0, othersPerSecond} {
		traffic := "alone"
		if background > 0 {
			traffic = "with " + number(background) + "/s from other devices"
		}
		a := assignment{Role: "relay", Duration: b.options.Time, Rate: background}
		p50 := func(r report) time.Duration { return r.P50 }
		p99 := func(r report) time.Duration { return r.P99 }
		rows = append(rows,
			row{
				id: fmt.Sprintf("g%d", 2*i+1), unit: "ms", less: true,
				title: "Device → WebSocket at 50/s, " + traffic + ": p50",
				sides: []side{{"everything on, MQTT QoS 1", b.watched(a, p50)}, {"plain produce → consume", b.relayed(a, p50)}},
			},
			row{
				id: fmt.Sprintf("g%d", 2*i+2), unit: "ms", less: true,
				title:  "Device → WebSocket at 50/s, " + traffic + ": p99",
				floors: map[string]float64{"": 25}, aims: map[string]float64{"": 8},
				sides: []side{{"everything on, MQTT QoS 1", b.watched(a, p99)}, {"plain produce → consume", b.relayed(a, p99)}},
			})
	}
	return rows
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *bench) relayed(a assignment, pick func(report) time.Duration) func(context.Context, string) (float64, error) {
	return func(_ context.Context, dir string) (float64, error) {
		a.Dir = dir
		c, r, err := startRole(a)
		if err != nil {
			return 0, err
		}
		return milliseconds(pick(r)), c.stop()
	}
}

func (b *bench) watched(a assignment, pick func(report) time.Duration) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		p, err := b.startLoaded(ctx, dir, others)
		if err != nil {
			return 0, err
		}
		r, err := p.watch(ctx, a)
		return milliseconds(pick(r)), errors.Join(err, p.stop())
	}
}

// watch has a device send the time, and a WebSocket client read how long ago that was.
func (d *doors) watch(ctx context.Context, a assignment) (r report, err error) {
	const token = "load-watched"
	id, err := d.addDevice(ctx, token)
	if err != nil {
		return r, err
	}
	socket, err := d.subscribe(ctx, id)
	if err != nil {
		return r, fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = socket.CloseNow() }() // there is nobody to take leave of
	device, err := load.Connect(ctx, d.mqtt, token)
	if err != nil {
		return r, err
	}
	defer device.Close()
	var working sync.WaitGroup
	defer working.Wait()
	var noise error
	if a.Rate > 0 {
		working.Go(func() {
			_, noise = load.MQTT(ctx, load.Options{
				Address: d.mqtt, Clients: others, InFlight: 4, Rate: a.Rate, Duration: a.Duration, Payload: load.Reading(),
			})
		})
	}
	latencies, err := beat(ctx, a.Duration, func(ctx context.Context, last int) error {
		return device.Publish([]byte(`{"sent":` + strconv.FormatInt(time.Now().UnixNano(), 10) + `}`))
	}, func(ctx context.Context) (time.Time, error) { return nextSent(ctx, socket) })
	working.Wait()
	return report{P50: latencies.Percentile(50), P99: latencies.Percentile(99)}, errors.Join(err, noise)
}

// beat sends watchedPerSecond times a second for duration and returns how long each took to be received.
func beat(ctx context.Context, duration time.Duration, send func(context.Context, int) error, receive func(context.Context) (time.Time, error)) (*load.Latencies, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+10*time.Second)
	defer cancel()
	n := int(duration.Seconds() * watchedPerSecond)
	latencies := &load.Latencies{}
	var sending sync.WaitGroup
	var sendErr error
	sending.Go(func() {
		ticks := time.NewTicker(time.Second / watchedPerSecond)
		defer ticks.Stop()
		for i := range n {
			<-ticks.C
			if sendErr = send(ctx, i); sendErr != nil {
				cancel()
				return
			}
		}
	})
	var err error
	for range n {
		var sent time.Time
		if sent, err = receive(ctx); err != nil {
			break
		}
		latencies.Add(time.Since(sent), 1)
	}
	cancel()
	sending.Wait()
	return latencies, errors.Join(sendErr, err)
}

// subscribe opens a WebSocket and subscribes to the devices' values, by commands from 1 on.
func (d *doors) subscribe(ctx context.Context, devices ...string) (*websocket.Conn, error) {
	socket, _, err := websocket.Dial(ctx, "ws://"+d.people+"/api/ws", nil)
	if err != nil {
		return nil, err
	}
	var commands []any
	for i, device := range devices {
		commands = append(commands, map[string]any{
			"type": "TIMESERIES", "cmdId": i + 1, "entityType": "DEVICE", "entityId": device, "scope": "LATEST_TELEMETRY",
		})
	}
	command, err := json.Marshal(map[string]any{"authCmd": map[string]any{"cmdId": 0, "token": d.jwt}, "cmds": commands})
	if err != nil {
		return nil, err
	}
	if err := socket.Write(ctx, websocket.MessageText, command); err != nil {
		return nil, err
	}
	for range devices {
		_, first, err := socket.Read(ctx) // what there is so far
		if err != nil {
			return nil, err
		}
		var answer struct{ ErrorCode int }
		if err := json.Unmarshal(first, &answer); err != nil || answer.ErrorCode != 0 {
			return nil, fmt.Errorf("answered %s: %w", first, err)
		}
	}
	return socket, nil
}

// nextSent waits for the next update and returns when its reading was sent.
func nextSent(ctx context.Context, socket *websocket.Conn) (time.Time, error) {
	_, sent, err := nextSentBy(ctx, socket)
	return sent, err
}

// nextSentBy is nextSent that also returns the number of the command that subscribed.
func nextSentBy(ctx context.Context, socket *websocket.Conn) (command int, sent time.Time, err error) {
	for {
		_, text, err := socket.Read(ctx)
		if err != nil {
			return 0, time.Time{}, err
		}
		var update struct {
			SubscriptionID int
			Data           map[string][][2]any
		}
		if err := json.Unmarshal(text, &update); err != nil {
			return 0, time.Time{}, fmt.Errorf("update %s: %w", text, err)
		}
		if values := update.Data["sent"]; len(values) > 0 {
			nanoseconds, err := strconv.ParseInt(fmt.Sprint(values[0][1]), 10, 64)
			return update.SubscriptionID, time.Unix(0, nanoseconds), err
		}
	}
}

// relayRole is what the bus alone takes: produce a record, consume it, in one process.
func relayRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.broker(ctx, &a); err != nil {
		return err
	}
	client, err := c.dial(ctx, a, "bench", "")
	if err != nil {
		return err
	}
	key := []byte("watched")
	reader, err := openReaderOf(ctx, client, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	noise, stopNoise := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stopNoise()
	working.Go(func() { publishOthers(noise, client, a.Rate) })
	var pending []time.Time
	latencies, err := beat(ctx, a.Duration, func(context.Context, int) error {
		value := strconv.AppendInt(nil, time.Now().UnixNano(), 10)
		return client.Publish(bus.Message{Topic: topics.RuleEngine, Key: key, Value: value}, func(error) {})
	}, func(ctx context.Context) (time.Time, error) {
		for len(pending) == 0 {
			records, err := reader.Read(ctx, 100)
			if err != nil {
				return time.Time{}, err
			}
			for _, r := range records {
				if string(r.Key) != string(key) {
					continue
				}
				n, err := strconv.ParseInt(string(r.Value), 10, 64)
				if err != nil {
					return time.Time{}, err
				}
				pending = append(pending, time.Unix(0, n))
			}
		}
		sent := pending[0]
		pending = pending[1:]
		return sent, nil
	})
	if err != nil {
		return err
	}
	return say(report{P50: latencies.Percentile(50), P99: latencies.Percentile(99)})
}

// publishOthers keeps the bus busy with rate messages a second until ctx ends.
func publishOthers(ctx context.Context, client *bus.Client, rate float64) {
	if rate == 0 {
		return
	}
	ticks := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticks.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticks.C:
			m := bus.Message{Topic: topics.RuleEngine, Key: []byte(load.Token(i % others)), Value: load.Reading()}
			_ = client.Publish(m, func(error) {}) // it is noise: one more or less
		case <-ctx.Done():
			return
		}
	}
}

// openReaderOf opens the partition that records of key go to, found by publishing one.
func openReaderOf(ctx context.Context, client *bus.Client, key []byte) (bus.Reader, error) {
	published := make(chan error, 1)
	if err := client.Publish(bus.Message{Topic: topics.RuleEngine, Key: key, Value: []byte("0")}, func(err error) { published <- err }); err != nil {
		return nil, err
	}
	if err := <-published; err != nil {
		return nil, err
	}
	for partition := range partitions {
		reader, err := client.OpenReader(ctx, topics.RuleEngine, partition)
		if err != nil {
			return nil, err
		}
		looking, cancel := context.WithTimeout(ctx, time.Second)
		_, err = reader.Read(looking, 1)
		cancel()
		if err == nil {
			return reader, nil
		}
		if err := reader.Close(); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the record is in no partition")
}
