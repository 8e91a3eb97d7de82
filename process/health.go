package process

import (
	"fmt"
	"sync"
)

// Health is the set of checks behind /ready. Safe for concurrent use.
type Health struct {
	mu     sync.Mutex
	checks map[string]func() error
}

// Check registers what decides whether the part called name is ready: nil is ready, an error says why not. Checks must not block.
func (h *Health) Check(name string, ready func() error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checks == nil {
		h.checks = map[string]func() error{}
	}
	h.checks[name] = ready
}

// Ready returns nil when every check passes, else the reasons by part name.
func (h *Health) Ready() map[string]error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var reasons map[string]error
	for name, check := range h.checks {
		if err := check(); err != nil {
			if reasons == nil {
				reasons = map[string]error{}
			}
			reasons[name] = fmt.Errorf("%s: %w", name, err)
		}
	}
	return reasons
}
