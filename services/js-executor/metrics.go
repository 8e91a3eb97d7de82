package jsexecutor

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/proto/script"
)

// metrics counts what happens. It is safe for concurrent use.
type metrics struct {
	log     *slog.Logger
	scripts statistics

	calls                    *prometheus.CounterVec
	seconds                  prometheus.Histogram
	expired, records         prometheus.Counter
	malformed, unsent, died  prometheus.Counter
	killed                   *prometheus.CounterVec
	waiting, bytes, children prometheus.Gauge
}

// outcomes are the values of the label outcome.
var outcomes = map[script.Outcome]string{
	script.OK: "ok", script.NotFound: "text_needed", script.Compilation: "compilation", script.Runtime: "runtime", script.Timeout: "timeout",
	script.Memory: "memory", script.ResultTooLarge: "result_too_large", script.Pending: "pending", script.Away: "away",
}

func newMetrics(env process.Env) *metrics {
	registry := env.Metrics
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "js_executor_" + name, Help: help})
		registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "js_executor_" + name, Help: help})
		registry.MustRegister(g)
		return g
	}
	m := &metrics{
		log: env.Log,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "js_executor_calls_total", Help: "Calls answered, by outcome.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "js_executor_run_seconds", Help: "How long scripts ran.", Buckets: []float64{.00003, .0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3},
		}),
		killed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "js_executor_kills_total", Help: "Processes killed because a script did not end (timeout), got no processor time (away), or took more processes than its tenant may have from others (pending).",
		}, []string{"reason"}),
		expired:   counter("expired_calls_total", "Calls that were not run, as nobody waited for them any more."),
		records:   counter("records_total", "Records of calls read."),
		malformed: counter("malformed_records_total", "Records that are none of calls."),
		unsent:    counter("unsent_answers_total", "Answers that could not be sent; their callers ask again."),
		died:      counter("deaths_total", "Processes that ended by themselves, mostly out of memory."),
		waiting:   gauge("waiting_calls", "Calls that wait for a process."),
		bytes:     gauge("waiting_bytes", "Bytes of their arguments."),
		children:  gauge("processes", "Processes that run scripts."),
	}
	registry.MustRegister(m.calls, m.seconds, m.killed)
	for _, name := range outcomes {
		m.calls.WithLabelValues(name)
	}
	m.killed.WithLabelValues(outcomes[script.Timeout])
	m.killed.WithLabelValues(outcomes[script.Away])
	m.killed.WithLabelValues(outcomes[script.Pending])
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m
}

// Ended implements crew.Watcher.
func (m *metrics) Ended(c *script.Call, a *script.Answer) {
	m.calls.WithLabelValues(outcomes[a.Outcome]).Inc()
	if a.Ran > 0 {
		m.seconds.Observe(a.Ran.Seconds())
	}
	m.scripts.add(c, a)
}

// Expired implements crew.Watcher.
func (m *metrics) Expired() { m.expired.Inc() }

// Waiting implements crew.Watcher.
func (m *metrics) Waiting(calls, bytes int) {
	m.waiting.Set(float64(calls))
	m.bytes.Set(float64(bytes))
}

// Children implements crew.Watcher.
func (m *metrics) Children(count int) { m.children.Set(float64(count)) }

// Killed implements crew.Watcher.
func (m *metrics) Killed(why script.Outcome) { m.killed.WithLabelValues(outcomes[why]).Inc() }

// Died implements crew.Watcher.
func (m *metrics) Died() { m.died.Inc() }

// Record implements intake.Watcher.
func (m *metrics) Record(int) { m.records.Inc() }

// Malformed implements intake.Watcher.
func (m *metrics) Malformed(err error) {
	m.malformed.Inc()
	m.log.Warn("a record that is none of calls", "err", err)
}

// Unsent implements intake.Watcher.
func (m *metrics) Unsent(answers int) { m.unsent.Add(float64(answers)) }

// maxStatistics bounds the scripts that statistics are kept of.
const maxStatistics = 1000

// statistics are those of the scripts seen of late, for operators: GET /scripts on the admin listener.
type statistics struct {
	mu   sync.Mutex
	byID map[script.ID]*statistic
}

// statistic is one script's since it was first seen.
type statistic struct {
	Script   string            `json:"script"`
	Tenant   string            `json:"tenant"`
	Calls    uint64            `json:"calls"`
	Failures map[string]uint64 `json:"failures,omitempty"`
	RunMS    float64           `json:"runMs"`
	LongestM float64           `json:"longestMs"`
	last     time.Time
}

func (s *statistics) add(c *script.Call, a *script.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byID[c.Script]
	if one == nil {
		if s.byID == nil {
			s.byID = map[script.ID]*statistic{}
		}
		if len(s.byID) >= maxStatistics {
			s.forget()
		}
		one = &statistic{Script: c.Script.String(), Tenant: c.Tenant.String()}
		s.byID[c.Script] = one
	}
	one.Calls++
	took := float64(a.Ran.Microseconds()) / 1000
	one.RunMS += took
	one.LongestM = max(one.LongestM, took)
	one.last = time.Now()
	if a.Outcome != script.OK {
		if one.Failures == nil {
			one.Failures = map[string]uint64{}
		}
		one.Failures[outcomes[a.Outcome]]++
	}
}

// forget drops the script that was called longest ago, of a few: it need not be the very one.
func (s *statistics) forget() {
	const few = 8
	var (
		oldest script.ID
		at     time.Time
		looked int
	)
	for id, one := range s.byID {
		if looked == 0 || one.last.Before(at) {
			oldest, at = id, one.last
		}
		if looked++; looked == few {
			break
		}
	}
	delete(s.byID, oldest)
}

// ServeHTTP answers with the scripts that took the most time, most first.
func (s *statistics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	all := make([]statistic, 0, len(s.byID))
	for _, one := range s.byID {
		shown := *one
		shown.Failures = map[string]uint64{}
		for kind, n := range one.Failures {
			shown.Failures[kind] = n
		}
		all = append(all, shown)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b statistic) int {
		switch {
		case a.RunMS > b.RunMS:
			return -1
		case a.RunMS < b.RunMS:
			return 1
		}
		return 0
	})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all) // whoever asked is gone then
}
