package recent

import "testing"

func TestMemoryIsBounded(t *testing.T) {
	m := New[int, string](3)
	for i := range 100 {
		m.Put(i, "old")
		m.Put(i, "new")
	}
	if v, ok := m.Get(99); v != "new" || !ok || m.Len() != 3 {
		t.Errorf("it remembers %q %v, %d keys", v, ok, m.Len())
	}
	if _, ok := m.Get(-1); ok {
		t.Error("it remembers what it was never told")
	}
}
