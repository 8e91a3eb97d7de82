package ingest

import "sync"

// mostTransports bounds the transports remembered; beyond it some other is forgotten, until it is heard of again.
const mostTransports = 4096

// transports are the nodes that sessions of devices, or requests of theirs, have come from. The answers of rule chains go to no others:
// which node an answer is for stands in metadata, which tenants write, and each name would be one more topic. Safe for concurrent use.
type transports struct {
	mu    sync.Mutex
	known map[string]struct{}
}

// heard notes a node.
func (t *transports) heard(node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.known[node]; known || node == "" {
		return
	}
	if t.known == nil {
		t.known = map[string]struct{}{}
	}
	if len(t.known) >= mostTransports {
		for other := range t.known {
			delete(t.known, other)
			break
		}
	}
	t.known[node] = struct{}{}
}

func (t *transports) knows(node string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.known[node]
	return known
}
