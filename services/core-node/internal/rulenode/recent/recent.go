// Package recent remembers a bounded number of things. What is forgotten costs a look-up, or doing something twice.
package recent

import "sync"

// Memory keeps the value last put for each of at most so many keys; beyond, it forgets any one. Safe for concurrent use.
type Memory[K comparable, V any] struct {
	most int

	mu   sync.Mutex
	kept map[K]V
}

// New returns an empty Memory of at most most keys.
func New[K comparable, V any](most int) *Memory[K, V] {
	return &Memory[K, V]{most: most, kept: map[K]V{}}
}

// Get returns what was put for key, if it is still known.
func (m *Memory[K, V]) Get(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.kept[key]
	return v, ok
}

// Put remembers v for key.
func (m *Memory[K, V]) Put(key K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.kept[key]; !known && len(m.kept) >= m.most {
		for any := range m.kept {
			delete(m.kept, any)
			break
		}
	}
	m.kept[key] = v
}

// Len is how many keys are remembered.
func (m *Memory[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kept)
}
