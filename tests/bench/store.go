package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/tests/load"
)

const (
	storeDevices = 200
	// loopBatch is how many messages the bare loop writes per synced batch.
	loopBatch = 1000
	// storedMetric counts messages of devices that went through the chain into the store.
	storedMetric = "core_node_messages_stored_total"
)

// storeRow is row d's throughput: as many messages as fit in the time, until the last is stored.
func (b *bench) storeRow() row {
	o := load.Options{Clients: storeDevices, InFlight: 16, Duration: b.options.Time, Payload: load.Reading()}
	return row{
		id: "d1", title: "Device → chain → Pebble, 3 values a message, until all is stored", unit: "messages/s",
		floors: map[string]float64{"bare loop into Pebble": 0.35}, aims: map[string]float64{"bare loop into Pebble": 0.5},
		sides: []side{
			{"everything on, MQTT QoS 1", func(ctx context.Context, dir string) (float64, error) {
				p, err := b.startLoaded(ctx, dir, o.Clients)
				if err != nil {
					return 0, err
				}
				rate, err := p.drained(ctx, o)
				return rate, errors.Join(err, p.stop())
			}},
			{"bare loop into Pebble", b.role("pebble", assignment{Clients: storeDevices, Duration: b.options.Time})},
		},
	}
}

// drained returns the rate from the first message sent to the last one stored.
func (d *doors) drained(ctx context.Context, o load.Options) (float64, error) {
	o.Address = d.mqtt
	before, err := d.counter(ctx, storedMetric)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	r, err := load.MQTT(ctx, o)
	if err != nil {
		return 0, err
	}
	if err := d.awaitStored(ctx, int(before)+r.Acknowledged); err != nil {
		return 0, err
	}
	return float64(r.Acknowledged) / time.Since(start).Seconds(), nil
}

// sustainedRow is row d's endurance: at a steady rate, how long after the last message all is stored.
func (b *bench) sustainedRow() row {
	r := row{
		id: "d2", unit: "s", less: true, turns: 1, floors: map[string]float64{"": 5}, aims: map[string]float64{},
		title: "Sustained for a minute, 3 values a message: time until all is stored, after the last message",
	}
	duration := time.Minute
	if b.options.Short {
		duration = 3 * time.Second
	}
	for _, rate := range []float64{28_000, 56_000} {
		r.sides = append(r.sides, side{"at " + number(rate) + " messages/s", func(ctx context.Context, dir string) (float64, error) {
			p, err := b.startLoaded(ctx, dir, storeDevices)
			if err != nil {
				return 0, err
			}
			lag, err := p.lagAfter(ctx, rate, duration)
			return lag, errors.Join(err, p.stop())
		}})
	}
	return r
}

func (d *doors) lagAfter(ctx context.Context, rate float64, duration time.Duration) (seconds float64, err error) {
	r, err := load.MQTT(ctx, load.Options{
		Address: d.mqtt, Clients: storeDevices, InFlight: 16, Duration: duration, Rate: rate, Payload: load.Reading(),
	})
	if err != nil {
		return 0, err
	}
	if got := r.PerSecond(); got < 0.98*rate {
		return 0, fmt.Errorf("%s messages/s were acknowledged, %s offered", number(got), number(rate))
	}
	last := time.Now()
	err = d.awaitStored(ctx, r.Acknowledged)
	return time.Since(last).Seconds(), err
}

// awaitStored waits until n messages are stored.
func (d *doors) awaitStored(ctx context.Context, n int) error {
	deadline := time.Now().Add(5 * time.Minute)
	for {
		stored, err := d.counter(ctx, storedMetric)
		if err != nil || stored >= float64(n) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s of %s messages were stored in five minutes", number(stored), number(float64(n)))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// counter reads a metric, all its series of all processes that store together.
func (d *doors) counter(ctx context.Context, name string) (sum float64, err error) {
	for _, admin := range d.admins {
		one, err := counter(ctx, admin, name)
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

func counter(ctx context.Context, admin, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	total, lines := 0.0, bufio.NewScanner(response.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if metric, _, _ := strings.Cut(series, "{"); metric != name {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		total += n
	}
	return total, lines.Err()
}

// pebbleRole writes the rows that messages of three values become, and nothing else: history
// under entity, day, key and time, the latest values once per batch and device.
func pebbleRole(_ context.Context, a assignment, say func(report) error) (err error) {
	db, err := pebble.Open(filepath.Join(a.Dir, "store"), &pebble.Options{
		MemTableSize: 8 << 20, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: silent{},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	w := newRowWriter(a.Clients)
	start := time.Now()
	for time.Since(start) < a.Duration {
		batch := db.NewBatch()
		if err := w.write(batch, loopBatch); err != nil {
			return err
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			return err
		}
		if err := batch.Close(); err != nil {
			return err
		}
	}
	return say(report{Messages: w.written, Elapsed: time.Since(start)})
}

// rowWriter makes the rows of readings that devices send in turns.
type rowWriter struct {
	devices [][16]byte
	written int
	time    uint32
	key     []byte
	value   [17]byte
}

func newRowWriter(devices int) *rowWriter {
	w := &rowWriter{}
	for i := range devices {
		id := sha256.Sum256([]byte(load.Token(i)))
		w.devices = append(w.devices, [16]byte(id[:16]))
	}
	return w
}

func (w *rowWriter) write(batch *pebble.Batch, messages int) error {
	for i := range messages {
		device := w.devices[w.written%len(w.devices)]
		w.written++
		if w.written%len(w.devices) == 0 {
			w.time++
		}
		binary.BigEndian.PutUint64(w.value[8:], uint64(w.written))
		for _, name := range []string{"temperature", "humidity", "pressure"} {
			w.key = append(append(w.key[:0], 'h', 4), device[:]...)
			w.key = append(append(append(w.key, 0, 0, 0, 0x4e, 0x20), name...), 0, 1)
			w.key = binary.BigEndian.AppendUint32(w.key, w.time)
			if err := batch.Set(w.key, w.value[:], nil); err != nil {
				return err
			}
			if i < messages-len(w.devices) {
				continue // a later message of the batch has the device's latest values
			}
			w.key = append(append(append(append(w.key[:0], 'l', 4), device[:]...), name...), 0, 1)
			if err := batch.Set(w.key, w.value[:], nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// silent keeps the engine from speaking of every file it writes.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}
