package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/tests/load"
)

// Row k: how long a request of a person to a device takes until its answer is there, over MQTT. It passes the bus three times: to
// the device's owner, to its transport and back to the owner; a fourth time where the node that was asked is not the owner. It is
// measured by four.
const (
	askedDevices = 1000
	askingPeople = 100
	bareHops     = 4
)

// percentile measures one percentile of what a says.
type percentile func(a assignment, pick func(report) time.Duration) func(context.Context, string) (float64, error)

// rpcRows are row k, or with a fleet row l.
func (b *bench) rpcRows(id, name string, ours, hops percentile) []row {
	a := assignment{Role: "hops", InFlight: askingPeople, Duration: b.options.Time}
	p50 := func(r report) time.Duration { return r.P50 }
	p99 := func(r report) time.Duration { return r.P99 }
	title := fmt.Sprintf("Request REST → MQTT device → REST, %d devices, %d at a time: ", askedDevices, askingPeople)
	const bare = "four plain produce → consume in a row"
	return []row{
		{
			id: id + "1", unit: "ms", less: true, title: title + "p50",
			sides: []side{{name, ours(a, p50)}, {bare, hops(a, p50)}},
		},
		{
			id: id + "2", unit: "ms", less: true, title: title + "p99",
			floors: map[string]float64{bare: 2}, aims: map[string]float64{bare: 1.5},
			sides: []side{{name, ours(a, p99)}, {bare, hops(a, p99)}},
		},
	}
}

func (b *bench) asked(a assignment, pick func(report) time.Duration) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		p, err := b.startLoaded(ctx, dir, 0)
		if err != nil {
			return 0, err
		}
		ids, err := p.addAnswering(ctx)
		if err != nil {
			return 0, errors.Join(err, p.stop())
		}
		r, err := p.ask(ctx, a, ids)
		return milliseconds(pick(r)), errors.Join(err, p.stop())
	}
}

// ask connects devices that answer, and has people ask them, each one after the other.
func (d *doors) ask(ctx context.Context, a assignment, ids []string) (r report, err error) {
	var devices []*load.Answering
	defer func() {
		for _, device := range devices {
			err = errors.Join(err, device.Close())
		}
	}()
	for i := range askedDevices {
		device, err := load.Answer(ctx, d.mqtt, answeringToken(i))
		if err != nil {
			return r, err
		}
		devices = append(devices, device)
	}
	if _, err := d.askFor(ctx, ids, a.InFlight, warmUp(a.Duration)); err != nil {
		return r, err
	}
	latencies, err := d.askFor(ctx, ids, a.InFlight, a.Duration)
	if err != nil {
		return r, err
	}
	return report{P50: latencies.Percentile(50), P99: latencies.Percentile(99)}, nil
}

func answeringToken(i int) string { return fmt.Sprint("answering-", i) }

// addAnswering makes the devices that will answer and returns their ids.
func (d *doors) addAnswering(ctx context.Context) ([]string, error) {
	ids, errs := make([]string, askedDevices), make([]error, askedDevices)
	places := make(chan struct{}, 8)
	var adding sync.WaitGroup
	for i := range ids {
		places <- struct{}{}
		adding.Go(func() {
			defer func() { <-places }()
			ids[i], errs[i] = d.addDevice(ctx, answeringToken(i))
		})
	}
	adding.Wait()
	return ids, errors.Join(errs...)
}

// askFor asks devices in turns for a time, people at once.
func (d *doors) askFor(ctx context.Context, ids []string, people int, lasting time.Duration) (*load.Latencies, error) {
	requests := make([][]byte, len(ids))
	for i, id := range ids {
		requests[i] = d.question(id)
	}
	var (
		next      atomic.Int64
		asking    sync.WaitGroup
		latencies = make([]load.Latencies, people)
		errs      = make([]error, people)
		until     = time.Now().Add(lasting)
	)
	for i := range people {
		one, err := load.Ask(ctx, d.people)
		if err != nil {
			errs[i] = err
			break
		}
		asking.Go(func() {
			defer one.Close()
			for errs[i] == nil && time.Now().Before(until) {
				began := time.Now()
				errs[i] = askOne(one, requests[int(next.Add(1))%len(ids)])
				latencies[i].Add(time.Since(began), 1)
			}
		})
	}
	asking.Wait()
	all := &load.Latencies{}
	for i := range latencies {
		all.Merge(&latencies[i])
	}
	return all, errors.Join(errs...)
}

// question is the request that asks a device.
func (d *doors) question(device string) []byte {
	const body = `{"method":"setValue","params":{"pin":4,"value":1}}`
	return fmt.Appendf(nil, "POST /api/rpc/twoway/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		device, d.people, d.jwt, len(body), body)
}

func askOne(one *load.Asking, request []byte) error {
	status, text, err := one.Exchange(request)
	if err != nil {
		return err
	}
	if status != http.StatusOK || string(text) != `{"ok":true}` {
		return fmt.Errorf("a request to a device was answered %d %s", status, text)
	}
	return nil
}

// hopsRole is what the bus alone takes for as many messages at a time: each is produced and consumed four times in a row.
func hopsRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.broker(ctx, &a); err != nil {
		return err
	}
	client, err := c.dial(ctx, a, "bench", "")
	if err != nil {
		return err
	}
	h := &hops{client: client, latencies: &load.Latencies{}, until: time.Now().Add(a.Duration)}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var readers sync.WaitGroup
	partitions, err := client.Partitions(ctx, topics.RuleEngine)
	if err != nil {
		return err
	}
	for partition := range partitions {
		reader, err := client.OpenReader(ctx, topics.RuleEngine, partition)
		if err != nil {
			return err
		}
		readers.Go(func() {
			h.fail(h.consume(reading, reader))
			h.fail(reader.Close())
		})
	}
	h.running.Add(a.InFlight)
	for i := range a.InFlight {
		h.begin(uint32(i))
	}
	h.running.Wait()
	stop()
	readers.Wait()
	if h.failed != nil {
		return h.failed
	}
	return say(report{P50: h.latencies.Percentile(50), P99: h.latencies.Percentile(99)})
}

// hops sends messages round and round until a time. A message's value is its number, the hop and when it set out.
type hops struct {
	client  *bus.Client
	until   time.Time
	running sync.WaitGroup // one for each message

	mu        sync.Mutex
	latencies *load.Latencies
	failed    error
}

func (h *hops) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = errors.Join(h.failed, err)
}

func (h *hops) begin(number uint32) {
	value := binary.BigEndian.AppendUint32(nil, number)
	value = append(value, 0)
	h.send(number, binary.BigEndian.AppendUint64(value, uint64(time.Now().UnixNano())))
}

func (h *hops) send(number uint32, value []byte) {
	key := strconv.AppendUint(nil, uint64(number)*bareHops+uint64(value[4]), 10)
	err := h.client.Publish(bus.Message{Topic: topics.RuleEngine, Key: key, Value: value}, func(err error) {
		if err != nil {
			h.fail(err)
		}
	})
	if err != nil {
		h.fail(err)
		h.running.Done()
	}
}

func (h *hops) consume(ctx context.Context, reader bus.Reader) error {
	for {
		records, err := reader.Read(ctx, 512)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range records {
			h.arrived(bytes.Clone(r.Value))
		}
	}
}

func (h *hops) arrived(value []byte) {
	number := binary.BigEndian.Uint32(value)
	if value[4]++; value[4] < bareHops {
		h.send(number, value)
		return
	}
	h.mu.Lock()
	h.latencies.Add(time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(value[5:])))), 1)
	h.mu.Unlock()
	if time.Now().After(h.until) {
		h.running.Done()
		return
	}
	h.begin(number)
}
