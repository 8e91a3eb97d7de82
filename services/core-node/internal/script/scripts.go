package script

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
)

// Bus is what scripts need of the bus.
type Bus interface {
	bus.Publisher
	bus.Inbox
	bus.Partitions
}

// Options are what scripts rest on.
type Options struct {
	Config Config
	Bus    Bus
	// Now is the clock of what is blocked; nil: this machine's.
	Now func() time.Time
	// Metrics and Log may be nil.
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Scripts prepares tenants' scripts. It is safe for concurrent use.
type Scripts struct {
	o       Options
	metrics *metrics

	mu    sync.Mutex
	known map[script.ID]weak.Pointer[state]

	pending pending
	post    post
}

// New returns scripts that may be prepared at once; they are run while Run runs. The records of kind topics.KindScript on the bus' reply topic are taken.
func New(o Options) (*Scripts, error) {
	if err := o.Config.Check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Scripts{o: o, known: map[script.ID]weak.Pointer[state]{}, metrics: newMetrics(o.Metrics)}
	s.pending.init(o.Config)
	s.post.init(s)
	o.Bus.OnKind(topics.KindScript, s.receive)
	return s, nil
}

// Script is a tenant's function. It is safe for concurrent use.
type Script struct {
	scripts *Scripts
	*state
}

// state is what identical scripts share. It lives as long as one of them.
type state struct {
	id         script.ID
	key        string
	tenant     ident.TenantID
	parameters []string
	body       string

	mu     sync.Mutex
	sent   bool // its text was sent to the executor that usually runs it
	under  int  // calls under way
	turn   int
	errors int
	latest time.Time // error that counts
	shown  bool      // as blocked, in the log
}

// Prepare checks what can be checked without an executor. body is the body of a function of the parameters: the
// first two are given as JSON, the others as texts. Identical scripts of a tenant count their errors together.
func (s *Scripts) Prepare(tenant ident.TenantID, parameters []string, body string) (*Script, error) {
	if err := examine(body, s.o.Config.BodyChars); err != nil {
		return nil, err
	}
	id := script.Identify(tenant, parameters, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if shared := s.known[id].Value(); shared != nil {
		return &Script{s, shared}, nil
	}
	own := &state{id: id, key: id.String(), tenant: tenant, parameters: slices.Clone(parameters), body: body}
	s.known[id] = weak.Make(own)
	runtime.AddCleanup(own, s.forget, id)
	return &Script{s, own}, nil
}

// forget drops what is known of a script nobody has any more.
func (s *Scripts) forget(id script.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id].Value() == nil { // it may have been prepared again
		delete(s.known, id)
	}
}

// blocked returns why the script is not run now, or nil.
func (s *Scripts) blocked(of *state) error {
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.errors > 0 && s.o.Now().Sub(of.latest) >= s.o.Config.BlockFor {
		of.errors, of.shown = 0, false
	}
	if of.errors < s.o.Config.Errors {
		return nil
	}
	return &Error{Kind: Blocked, Text: fmt.Sprintf("Script invocation is blocked due to maximum error count %d, scriptId %s!", s.o.Config.Errors, of.key)}
}

// failed counts an error of the script's own.
func (s *Scripts) failed(of *state) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.errors++
	of.latest = s.o.Now()
	if of.errors >= s.o.Config.Errors && !of.shown {
		of.shown = true
		s.metrics.blocked.Inc()
		s.o.Log.Warn("a script is blocked", "tenant", of.tenant, "script", of.key, "errors", of.errors, "for", s.o.Config.BlockFor)
	}
}
