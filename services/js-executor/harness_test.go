package jsexecutor

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/processor"
)

// TestMain makes the tests' own program the children's, too.
func TestMain(m *testing.M) {
	if IsChild(os.Args) {
		os.Exit(Child(os.Args))
	}
	goleak.VerifyTestMain(m)
}

var (
	update   = []string{"msg", "metadata", "msgType"}
	tenantA  = ident.TenantID{ID: ident.ID{0xa}}
	tenantB  = ident.TenantID{ID: ident.ID{0xb}}
	patience = 20 * time.Second
)

// configured returns the default settings, changed.
func configured(t testing.TB, change func(*Config)) Config {
	t.Helper()
	var c Config
	if err := settings.Defaults(&c, nil); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c)
	}
	return c
}

// executor is a running one.
type executor struct {
	*Service
	registry *prometheus.Registry
	stop     func()
}

func run(t testing.TB, broker, name string, change func(*Config)) *executor {
	t.Helper()
	registry := prometheus.NewRegistry()
	client := bustest.Dial(t, broker, bus.Options{Node: name})
	s, err := New(configured(t, change), name, client, process.Env{Metrics: registry, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	e := &executor{Service: s, registry: registry, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})}
	t.Cleanup(e.stop)
	return e
}

// count returns the value of a counter or gauge; of several, their sum.
func (e *executor) count(t testing.TB, name string) (sum float64) {
	t.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// scriptTime returns how much processor time the processes of scripts have had, those that have ended included.
func (e *executor) scriptTime(t testing.TB) (sum time.Duration) {
	t.Helper()
	var ended syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ended); err != nil {
		t.Fatal(err)
	}
	sum = time.Duration(ended.Utime.Nano() + ended.Stime.Nano())
	for _, pid := range e.crew.Processes() {
		if used := processor.Used(pid); used != processor.Unknown { // it has just ended
			sum += used
		}
	}
	return sum
}

// caller is a core node as executors see it.
type caller struct {
	t      testing.TB
	client *bus.Client

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan script.Answer
	twice   int // answers that nobody waited for
}

func dial(t testing.TB, broker, name string) *caller {
	t.Helper()
	c := &caller{t: t, client: bustest.Dial(t, broker, bus.Options{Node: name, ReplyPrefix: topics.CoreResponses}), waiting: map[uint64]chan script.Answer{}}
	c.client.OnKind(topics.KindScript, func(r bus.Record) {
		_, answers, err := script.DecodeAnswers(r.Value)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, a := range answers {
			if end := c.waiting[a.ID]; end != nil {
				delete(c.waiting, a.ID)
				end <- a
			} else {
				c.twice++
			}
		}
	})
	return c
}

// call is what a test asks; what is left out has a default.
type call struct {
	tenant     ident.TenantID
	parameters []string
	body       string
	args       []string
	timeout    time.Duration
	budget     time.Duration
	bodiless   bool
	compile    bool
}

func (k call) request() script.Call {
	if k.tenant == (ident.TenantID{}) {
		k.tenant = tenantA
	}
	if k.parameters == nil {
		k.parameters = update
	}
	if k.args == nil {
		k.args = []string{`{"temperature":21}`, `{"ts":"1"}`, "POST_TELEMETRY_REQUEST"}
	}
	if k.timeout == 0 {
		k.timeout = 500 * time.Millisecond
	}
	if k.budget == 0 {
		k.budget = patience
	}
	request := script.Call{
		Script: script.Identify(k.tenant, k.parameters, k.body), Tenant: k.tenant, Args: k.args, Timeout: k.timeout, Budget: k.budget, Compile: k.compile,
	}
	if !k.bodiless {
		request.Body, request.Parameters = k.body, k.parameters
	}
	return request
}

// begin publishes calls in one record, and returns where their answers come.
func (c *caller) begin(calls ...call) []chan script.Answer {
	c.t.Helper()
	var (
		record []byte
		key    string
	)
	ends := make([]chan script.Answer, len(calls))
	c.mu.Lock()
	for i := range calls {
		request := calls[i].request()
		c.next++
		request.ID, ends[i] = c.next, make(chan script.Answer, 1)
		c.waiting[c.next] = ends[i]
		record, key = script.AppendCall(record, &request), request.Script.String()
	}
	c.mu.Unlock()
	m := bus.Message{Topic: topics.ScriptRequests, Key: []byte(key), Value: script.AppendSource(record, c.client.ReplyTopic())}
	if err := c.client.Publish(m, nil); err != nil {
		c.t.Fatal(err)
	}
	return ends
}

// ask calls and waits for the answer.
func (c *caller) ask(k call) script.Answer {
	c.t.Helper()
	select {
	case a := <-c.begin(k)[0]:
		return a
	case <-time.After(patience):
		c.t.Fatalf("no answer to %.80q", k.body)
		return script.Answer{}
	}
}
