package script

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	tenantA = ident.TenantID{ID: ident.ID{0xa}}
	tenantB = ident.TenantID{ID: ident.ID{0xb}}
	update  = []string{"msg", "metadata", "msgType"}
)

// executor answers calls as a test says: with no answer at all when handle returns none.
type executor struct {
	client *bus.Client
	mu     sync.Mutex
	seen   []script.Call
	stop   func()
}

func startExecutor(t *testing.T, broker, name string, handle func(script.Call) []script.Answer) *executor {
	t.Helper()
	e := &executor{client: bustest.Dial(t, broker, bus.Options{Node: name})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	group := bus.Group{Name: "executors", Topic: topics.ScriptRequests, Session: 6 * time.Second, Heartbeat: 50 * time.Millisecond}
	go func() {
		ended <- e.client.Join(ctx, group, func(ctx context.Context, r bus.Reader) error {
			for {
				records, err := r.Read(ctx, 100)
				if err != nil {
					return nil // the group gathers, or the test ends
				}
				for _, record := range records {
					e.take(t, record, handle)
				}
				if err := r.Commit(context.WithoutCancel(ctx), records[len(records)-1].Offset+1, ""); err != nil {
					t.Logf("commit: %v", err)
				}
			}
		})
	}()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
	return e
}

func (e *executor) take(t *testing.T, r bus.Record, handle func(script.Call) []script.Answer) {
	reply, calls, err := script.DecodeCalls(r.Value)
	if err != nil {
		t.Error(err)
	}
	var record []byte
	for i := range calls {
		e.mu.Lock()
		e.seen = append(e.seen, calls[i])
		e.mu.Unlock()
		for _, a := range handle(calls[i]) {
			a.ID = calls[i].ID
			record = script.AppendAnswer(record, &a)
		}
	}
	if record == nil {
		return
	}
	header := bus.Header{Key: topics.KindHeader, Value: []byte(topics.KindScript)}
	if err := e.client.Publish(bus.Message{Topic: reply, Value: script.AppendSource(record, "test"), Headers: []bus.Header{header}}, nil); err != nil {
		t.Error(err)
	}
}

// calls returns what was asked so far.
func (e *executor) calls() []script.Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]script.Call{}, e.seen...)
}

// fixture is a core node's scripts.
type fixture struct {
	*Scripts
	registry *prometheus.Registry
	mu       sync.Mutex
	now      time.Time
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func open(t *testing.T, broker string, change func(*Config)) *fixture {
	t.Helper()
	config := Config{
		Timeout: 500 * time.Millisecond, Budget: 4 * time.Second, Errors: 3, BlockFor: time.Minute, Pending: 10_000, PendingBytes: 64 << 20,
		TenantPending: 2500, BodyChars: 50_000, ArgChars: 100_000,
	}
	if change != nil {
		change(&config)
	}
	f := &fixture{registry: prometheus.NewRegistry(), now: time.Unix(1_700_000_000, 0)}
	client := bustest.Dial(t, broker, bus.Options{Node: "core", ReplyPrefix: topics.CoreResponses})
	var err error
	f.Scripts, err = New(Options{Config: config, Bus: client, Metrics: f.registry, Now: func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.now
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) prepare(t *testing.T, tenant ident.TenantID, body string) *Script {
	t.Helper()
	s, err := f.Prepare(tenant, update, body)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (f *fixture) count(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// echo answers with the text of the first argument.
func echo(c script.Call) []script.Answer { return []script.Answer{{Text: c.Args[0]}} }

// await waits for what must come about.
func await(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func args(body string) []string { return []string{body, "{}", "T"} }

func many(text string, n int) string { return strings.Repeat(text, n) }
