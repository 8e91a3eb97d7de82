//go:build fleet && linux

package bus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
)

const (
	ledgerPartitions = 6
	ledgerDevices    = 60
	ledgerWindow     = 4
	ledgerPace       = 20 * time.Millisecond
)

// ledger publishes as devices do, in order and numbered, while readers read, and holds what was acknowledged against what was read.
type ledger struct {
	client  *bus.Client
	stop    context.CancelFunc
	devices [ledgerDevices]device
	reading sync.WaitGroup
	writing sync.WaitGroup
}

// device is one key's messages by number.
type device struct {
	mu           sync.Mutex
	acknowledged map[uint32]bool
	refused      map[string]int
	read         map[uint32]bool
	highest      int64 // number read
	disorder     string
	repeated     int
	last         time.Time     // of an acknowledgement
	gap          time.Duration // the longest between two
}

// openLedger starts readers of every partition, and devices.
func openLedger(t *testing.T, config bus.Config) *ledger {
	t.Helper()
	l := &ledger{client: bustest.DialConfig(t, config, bus.Options{Node: "ledger", ReplyPrefix: topics.CoreResponses})}
	reader := bustest.DialConfig(t, config, bus.Options{Node: "reader", ReplyPrefix: topics.CoreResponses})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); l.reading.Wait() })
	for i := range l.devices {
		l.devices[i] = device{acknowledged: map[uint32]bool{}, refused: map[string]int{}, read: map[uint32]bool{}, highest: -1}
	}
	for p := range ledgerPartitions {
		r, err := reader.OpenReader(ctx, topics.RuleEngine, p)
		if err != nil {
			t.Fatal(err)
		}
		l.reading.Go(func() { l.read(ctx, t, r) })
	}
	writing, stop := context.WithCancel(ctx)
	l.stop = stop
	for i := range l.devices {
		l.writing.Go(func() { l.publish(writing, i) })
	}
	return l
}

func (l *ledger) publish(ctx context.Context, number int) {
	d := &l.devices[number]
	d.last = time.Now()
	slots := make(chan struct{}, ledgerWindow)
	ticker := time.NewTicker(ledgerPace)
	defer ticker.Stop()
	for n := uint32(0); ctx.Err() == nil; n++ {
		slots <- struct{}{}
		done := func(err error) {
			d.answered(n, err)
			<-slots
		}
		m := bus.Message{Topic: topics.RuleEngine, Key: fmt.Append(nil, "device-", number), Value: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(number)), n)}
		if err := l.client.Publish(m, done); err != nil {
			done(err)
		}
		<-ticker.C
	}
	for range ledgerWindow {
		slots <- struct{}{}
	}
}

func (d *device) answered(n uint32, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		for _, kind := range []error{bus.ErrDeadline, bus.ErrUnavailable, bus.ErrFull} {
			if errors.Is(err, kind) {
				err = kind
			}
		}
		d.refused[err.Error()]++
		return
	}
	d.acknowledged[n] = true
	d.gap = max(d.gap, time.Since(d.last))
	d.last = time.Now()
}

func (l *ledger) read(ctx context.Context, t *testing.T, r bus.Reader) {
	defer func() {
		if err := r.Close(); err != nil {
			t.Log(err) // its connection may lead to a broker that was killed
		}
	}()
	for {
		records, err := r.Read(ctx, 1000)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("read: %v", err)
			}
			return
		}
		for _, record := range records {
			l.devices[binary.BigEndian.Uint32(record.Value)].found(binary.BigEndian.Uint32(record.Value[4:]))
		}
		if err := r.Commit(ctx, records[len(records)-1].Offset+1, ""); err != nil && ctx.Err() == nil {
			t.Logf("commit: %v", err)
		}
	}
}

func (d *device) found(n uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.read[n]:
		d.repeated++
	case int64(n) < d.highest:
		d.disorder = fmt.Sprintf("%d came first after %d", n, d.highest)
	}
	d.read[n] = true
	d.highest = max(d.highest, int64(n))
}

// close ends the devices, waits until all they had acknowledged was read, and returns the longest time a device waited between two
// acknowledgements.
func (l *ledger) close(t *testing.T) (gap time.Duration) {
	t.Helper()
	l.stop()
	l.writing.Wait()
	for began := time.Now(); l.missing() > 0 && time.Since(began) < time.Minute; {
		time.Sleep(20 * time.Millisecond)
	}
	if n := l.missing(); n > 0 {
		t.Errorf("%d acknowledged messages are lost", n)
	}
	acknowledged, repeated, refused := 0, 0, map[string]int{}
	for i := range l.devices {
		d := &l.devices[i]
		d.mu.Lock()
		acknowledged += len(d.acknowledged)
		repeated += d.repeated
		gap = max(gap, d.gap)
		for kind, n := range d.refused {
			refused[kind] += n
		}
		if d.disorder != "" {
			t.Errorf("device %d: %s", i, d.disorder)
		}
		d.mu.Unlock()
	}
	t.Logf("%d acknowledged, %d read again, refused %v; longest wait %v", acknowledged, repeated, refused, gap.Round(time.Millisecond))
	if acknowledged == 0 {
		t.Error("nothing was acknowledged")
	}
	return gap
}

func (l *ledger) missing() (n int) {
	for i := range l.devices {
		d := &l.devices[i]
		d.mu.Lock()
		for number := range d.acknowledged {
			if !d.read[number] {
				n++
			}
		}
		d.mu.Unlock()
	}
	return n
}
