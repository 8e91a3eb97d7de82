package transport

import (
	"sync"
	"testing"
)

func TestRecent(t *testing.T) {
	r := newRecent(10, func(key string, _ int) int { return len(key) })
	r.put("four", 1)
	r.put("five5", 2)
	if v, found := r.get("four"); !found || v != 1 { // used last
		t.Errorf("four: %d, %v", v, found)
	}
	r.put("two", 3)
	if _, found := r.get("five5"); found {
		t.Error("what was not used for longest stayed")
	}
	for key, want := range map[string]int{"four": 1, "two": 3} {
		if v, found := r.get(key); !found || v != want {
			t.Errorf("%s: %d, %v", key, v, found)
		}
	}
	r.put("far too long", 4)
	if _, found := r.get("far too long"); found || r.weight != 7 {
		t.Errorf("what weighs too much is kept: %v, weight %d", found, r.weight)
	}
	r.put("two", 5)
	if v := r.putIfAbsent("two", 6); v != 5 || r.weight != 7 {
		t.Errorf("two is %d, weight %d", v, r.weight)
	}
	if v := r.putIfAbsent("one", 7); v != 7 || r.weight != 10 {
		t.Errorf("one is %d, weight %d", v, r.weight)
	}
	r.remove("two")
	r.remove("two")
	if _, found := r.get("two"); found || r.weight != 7 || r.order.Len() != 2 {
		t.Errorf("two is there, or weighs: %v, %d, %d", found, r.weight, r.order.Len())
	}
}

func TestRecentByMany(t *testing.T) {
	r := newRecent[int, int](8, nil)
	var using sync.WaitGroup
	for i := range 4 {
		using.Go(func() {
			for n := range 1000 {
				r.put(n%16, i)
				r.get((n + i) % 16)
				r.remove((n + 7) % 16)
			}
		})
	}
	using.Wait()
	if r.weight > 8 || len(r.entries) != r.weight || r.order.Len() != r.weight {
		t.Errorf("weight %d of %d entries, %d in order", r.weight, len(r.entries), r.order.Len())
	}
}
