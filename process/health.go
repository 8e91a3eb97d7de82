package process

import (
	"fmt"
	"sync"
)

// Health is the set of checks behind /ready. Safe for concurrent use.
type Health struct {
	mu     sync.Mutex
	checks map[string]func() error
	shared map[string]func() error
}

// Check registers what decides whether the part called name is ready: nil is ready, an error says why not. Checks must not block.
func (h *Health) Check(name string, ready func() error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = with(h.checks, name, ready)
}

// CheckShared registers a look at something that all processes of a fleet need alike. /ready tells of its trouble but
// goes on saying yes: else every process would say no at once, and who balances the load would have none left, not even for
// what works without it. Checks must not block.
func (h *Health) CheckShared(name string, look func() error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shared = with(h.shared, name, look)
}

func with(checks map[string]func() error, name string, check func() error) map[string]func() error {
	if checks == nil {
		checks = map[string]func() error{}
	}
	checks[name] = check
	return checks
}

// Ready returns nil when every check passes, else the reasons by part name.
func (h *Health) Ready() map[string]error {
	return h.failing(func() map[string]func() error { return h.checks })
}

// Degraded returns the troubles of what is shared, by part name.
func (h *Health) Degraded() map[string]error {
	return h.failing(func() map[string]func() error { return h.shared })
}

func (h *Health) failing(of func() map[string]func() error) map[string]error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var reasons map[string]error
	for name, check := range of() {
		if err := check(); err != nil {
			if reasons == nil {
				reasons = map[string]error{}
			}
			reasons[name] = fmt.Errorf("%s: %w", name, err)
		}
	}
	return reasons
}
