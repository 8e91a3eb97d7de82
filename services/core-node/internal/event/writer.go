package event

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Options is what a Writer works with. Rows is required.
type Options struct {
	Rows     storage.Rows
	Settings Settings              // the zero value means DefaultSettings
	Now      func() time.Time      // nil: time.Now
	Log      *slog.Logger          // nil: none
	Metrics  prometheus.Registerer // nil: nowhere
}

// Writer stores events, aside of whoever puts them. Safe for concurrent use.
type Writer struct {
	options Options
	queue   chan Event
	bytes   atomic.Int64 // of bodies in queue
	stored  prometheus.Counter
	dropped *prometheus.CounterVec

	mu   sync.Mutex
	hour int64 // that spent is of
	// spent is how many debug events each tenant has put this hour.
	spent map[ident.TenantID]int
}

// pendingBytes is how many bytes of bodies may wait for each event that may: bodies are small but for a few.
const pendingBytes = 4 << 10

// reasons an event is dropped for, as the metric names them.
const (
	dropFull    = "full"
	dropLarge   = "large"
	dropRate    = "rate"
	dropStore   = "store"
	dropStopped = "stopped"
)

// NewWriter returns a Writer that stores once it runs.
func NewWriter(o Options) *Writer {
	if o.Settings == (Settings{}) {
		o.Settings = DefaultSettings()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{
		options: o, queue: make(chan Event, o.Settings.Pending), spent: map[ident.TenantID]int{},
		stored:  prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_events_stored_total", Help: "Debug and lifecycle events stored."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_events_dropped_total", Help: "Debug and lifecycle events not stored, by reason."}, []string{"reason"}),
	}
	if o.Metrics != nil {
		o.Metrics.MustRegister(w.stored, w.dropped)
	}
	return w
}

// Put has e stored soon, or drops and counts it. It never waits. The body must not be changed afterwards.
func (w *Writer) Put(e Event) {
	if e.Time <= 0 {
		e.Time = w.options.Now().UnixMilli()
	}
	size := int64(len(e.Body))
	if size > int64(w.options.Settings.BodyBytes) {
		w.drop(dropLarge, 1)
		return
	}
	if strings.HasPrefix(e.Type, "DEBUG_") && !w.allowed(e.Tenant) {
		w.drop(dropRate, 1)
		return
	}
	if w.bytes.Add(size) > int64(w.options.Settings.Pending)*pendingBytes {
		w.bytes.Add(-size)
		w.drop(dropFull, 1)
		return
	}
	select {
	case w.queue <- e:
	default:
		w.bytes.Add(-size)
		w.drop(dropFull, 1)
	}
}

func (w *Writer) drop(reason string, n int) { w.dropped.WithLabelValues(reason).Add(float64(n)) }

// Spent reports, and counts as one dropped, that a tenant has had its debug events of this hour: another need not even be made.
func (w *Writer) Spent(tenant ident.TenantID) bool {
	hour := w.options.Now().UnixMilli() / (60 * 60 * 1000)
	w.mu.Lock()
	spent := hour == w.hour && w.spent[tenant] >= w.options.Settings.Hourly
	w.mu.Unlock()
	if spent {
		w.drop(dropRate, 1)
	}
	return spent
}

// allowed counts one debug event of a tenant.
func (w *Writer) allowed(tenant ident.TenantID) bool {
	hour := w.options.Now().UnixMilli() / (60 * 60 * 1000)
	w.mu.Lock()
	defer w.mu.Unlock()
	if hour != w.hour {
		w.hour = hour
		clear(w.spent)
	}
	if w.spent[tenant] >= w.options.Settings.Hourly {
		return false
	}
	w.spent[tenant]++
	return true
}

const (
	// together is how many events are stored in one go.
	together = 512
	// attempts is how often a store that is away is asked, with pauses from retryPause on.
	attempts   = 5
	retryPause = 100 * time.Millisecond
	// lastTimeout bounds storing what waits when the writer stops.
	lastTimeout = 5 * time.Second
)

// Run stores what is put until ctx ends, then what waits.
func (w *Writer) Run(ctx context.Context) error {
	storing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for ctx.Err() == nil {
		select {
		case first := <-w.queue:
			w.store(storing, w.more(first))
		case <-ctx.Done():
		}
	}
	last := time.AfterFunc(lastTimeout, cancel)
	defer last.Stop()
	for {
		select {
		case first := <-w.queue:
			w.store(storing, w.more(first))
		default:
			return nil
		}
	}
}

// more takes what waits behind first, up to a batch.
func (w *Writer) more(first Event) []Event {
	batch := []Event{first}
	for len(batch) < together {
		select {
		case e := <-w.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// store writes a batch, each group of it together.
func (w *Writer) store(ctx context.Context, batch []Event) {
	groups := map[string][]storage.Row{}
	for _, e := range batch {
		w.bytes.Add(-int64(len(e.Body)))
		in := group(e.Tenant, e.Entity, e.Type, dayOf(e.Time))
		groups[in] = append(groups[in], storage.Row{Key: key(e.Time, ident.New()), Body: e.Body})
	}
	for in, rows := range groups {
		if err := w.write(ctx, in, rows); err != nil {
			w.options.Log.Warn("events dropped", "count", len(rows), "err", err)
			reason := dropStore
			if ctx.Err() != nil {
				reason = dropStopped
			}
			w.drop(reason, len(rows))
			continue
		}
		w.stored.Add(float64(len(rows)))
	}
}

func (w *Writer) write(ctx context.Context, in string, rows []storage.Row) error {
	for len(rows) > 0 {
		n, size := 0, 0
		for n < len(rows) && (n == 0 || size+len(rows[n].Body) < storage.MaxChangeBytes/4) {
			size += len(rows[n].Body)
			n++
		}
		if err := w.insist(ctx, in, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (w *Writer) insist(ctx context.Context, in string, rows []storage.Row) (err error) {
	pause := retryPause
	for range attempts {
		if err = w.options.Rows.ChangeRows(ctx, in, rows, nil, w.options.Settings.TTL); err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return fmt.Errorf("store events: %w", err)
		}
	}
	return fmt.Errorf("store events: %w", err)
}
