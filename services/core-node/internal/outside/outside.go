// Package outside is what leaves the platform on behalf of tenants: connections that reach public addresses only, and
// clients shared by all nodes that are configured alike, bounded, and closed when nobody uses them.
package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options is what an Outside works with. Metrics and Now may be nil.
type Options struct {
	Settings Settings
	Metrics  prometheus.Registerer
	Now      func() time.Time
}

// Outside connects to what is outside, and lends clients of it. Safe for concurrent use.
type Outside struct {
	settings Settings
	allowed  allowed
	metrics  *metrics
	now      func() time.Time

	mu      sync.Mutex
	clients map[any]*entry
	closed  bool
}

// entry is a client and who has it. ready is closed once client and err are set; the rest is guarded by Outside.mu.
type entry struct {
	ready  chan struct{}
	client io.Closer
	err    error
	users  int
	used   time.Time
	gone   bool // no longer lent; closed by whoever gives it back last
}

// New returns an Outside. Its Run closes what is idle, and at the end everything. Settings are valid.
func New(o Options) *Outside {
	if o.Now == nil {
		o.Now = time.Now
	}
	may, err := readAllowed(o.Settings.Allow)
	if err != nil {
		may = allowed{} // refused by Validate; here nothing is allowed
	}
	return &Outside{settings: o.Settings, allowed: may, metrics: newMetrics(o.Metrics), now: o.Now, clients: map[any]*entry{}}
}

// Settings returns what the Outside was made with.
func (o *Outside) Settings() Settings { return o.settings }

// Run closes clients that nobody used for a while, until ctx ends; then it closes all. Clients in use are closed when they
// are given back.
func (o *Outside) Run(ctx context.Context) error {
	tick := time.NewTicker(max(o.settings.Idle/2, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return o.Close()
		case <-tick.C:
			if err := o.sweep(false); err != nil {
				o.metrics.unclean.Inc()
			}
		}
	}
}

// Close closes all clients; none is lent any more.
func (o *Outside) Close() error {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	return o.sweep(true)
}

func (o *Outside) sweep(all bool) error {
	o.mu.Lock()
	var closing []io.Closer
	for key, e := range o.clients {
		if all || e.users == 0 && o.now().Sub(e.used) >= o.settings.Idle {
			closing = o.drop(key, e, closing)
		}
	}
	o.mu.Unlock()
	return closeAll(closing)
}

// drop has an entry lent no more; what nobody uses is added to closing. o.mu is held.
func (o *Outside) drop(key any, e *entry, closing []io.Closer) []io.Closer {
	delete(o.clients, key)
	o.metrics.clients.Set(float64(len(o.clients)))
	e.gone = true
	if e.users == 0 && e.client != nil {
		return append(closing, e.client)
	}
	return closing
}

func closeAll(closing []io.Closer) error {
	var errs []error
	for _, c := range closing {
		if err := c.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close a client: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Errors of Lend.
var (
	errTooMany = errors.New("too many connections to outside systems are in use")
	errClosed  = errors.New("the platform is stopping")
)

// Lend returns the client for key, opening it if there is none. key is of a type of the caller's own, comparable, and holds
// all that the client is configured by, the tenant included. giveBack must be called once; broken has the client closed
// instead of lent again.
func Lend[C io.Closer](ctx context.Context, o *Outside, key any, open func(context.Context) (C, error)) (client C, giveBack func(broken bool), err error) {
	var none C
	for {
		e, mine, err := o.take(key)
		if err != nil {
			return none, nil, err
		}
		if mine {
			client, err := open(ctx)
			if err == nil {
				e.client = client
			}
			e.err = err
			close(e.ready)
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			o.give(key, e, false)
			return none, nil, ctx.Err()
		}
		if e.err == nil {
			return e.client.(C), func(broken bool) { o.give(key, e, broken) }, nil
		}
		o.give(key, e, true)
		if !mine && errors.Is(e.err, context.Canceled) && ctx.Err() == nil {
			continue // whoever was opening it gave up; we have not
		}
		return none, nil, e.err
	}
}

// take finds or makes an entry; mine says that the caller is to open it.
func (o *Outside) take(key any) (e *entry, mine bool, err error) {
	o.mu.Lock()
	var closing []io.Closer
	defer func() {
		o.mu.Unlock()
		o.tidy(closing)
	}()
	if o.closed {
		return nil, false, errClosed
	}
	if e = o.clients[key]; e != nil {
		e.users++
		return e, false, nil
	}
	if len(o.clients) >= o.settings.Clients {
		oldest, found := o.oldest()
		if !found {
			return nil, false, errTooMany
		}
		closing = o.drop(oldest, o.clients[oldest], closing)
	}
	e = &entry{ready: make(chan struct{}), users: 1}
	o.clients[key] = e
	o.metrics.clients.Set(float64(len(o.clients)))
	return e, true, nil
}

// oldest is the client nobody uses that was used longest ago.
func (o *Outside) oldest() (key any, found bool) {
	var used time.Time
	for k, e := range o.clients {
		if e.users == 0 && (!found || e.used.Before(used)) {
			key, used, found = k, e.used, true
		}
	}
	return key, found
}

func (o *Outside) give(key any, e *entry, broken bool) {
	o.mu.Lock()
	e.users--
	e.used = o.now()
	var closing []io.Closer
	switch {
	case broken && !e.gone:
		closing = o.drop(key, e, closing)
	case e.gone && e.users == 0 && e.client != nil:
		closing = append(closing, e.client)
	}
	o.mu.Unlock()
	o.tidy(closing)
}

// tidy closes clients whose end concerns nobody any more.
func (o *Outside) tidy(closing []io.Closer) {
	if err := closeAll(closing); err != nil {
		o.metrics.unclean.Inc()
	}
}

type metrics struct {
	refused, unclean prometheus.Counter
	clients          prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_outside_refused_total", Help: "Connections of rule nodes to addresses that are not public."}),
		unclean: prometheus.NewCounter(prometheus.CounterOpts{Name: "core_node_outside_unclean_total", Help: "Clients of outside systems that were closed with an error."}),
		clients: prometheus.NewGauge(prometheus.GaugeOpts{Name: "core_node_outside_clients", Help: "Clients of outside systems that are open."}),
	}
	if r != nil {
		r.MustRegister(m.refused, m.unclean, m.clients)
	}
	return m
}
