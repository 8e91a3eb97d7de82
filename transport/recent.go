package transport

import (
	"container/list"
	"sync"
)

// recent keeps what was used lately: beyond a weight, what was not used for longest goes. Safe for concurrent use. It is for what is looked at
// now and then; the cache of verdicts, which every connection and request looks at, is another.
type recent[K comparable, V any] struct {
	most  int
	weigh func(K, V) int // nil: each weighs 1

	mu      sync.Mutex
	weight  int
	order   list.List // of kept[K, V], the last used first
	entries map[K]*list.Element
}

type kept[K comparable, V any] struct {
	key    K
	value  V
	weight int
}

func newRecent[K comparable, V any](most int, weigh func(K, V) int) *recent[K, V] {
	return &recent[K, V]{most: most, weigh: weigh, entries: map[K]*list.Element{}}
}

func (r *recent[K, V]) get(key K) (v V, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[key]
	if e == nil {
		return v, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*kept[K, V]).value, true
}

// put keeps v in place of what key had; what alone weighs too much is not kept.
func (r *recent[K, V]) put(key K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(r.entries[key])
	r.add(key, v)
}

// putIfAbsent keeps v unless key has a value, and returns the one it has then.
func (r *recent[K, V]) putIfAbsent(key K, v V) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[key]; e != nil {
		r.order.MoveToFront(e)
		return e.Value.(*kept[K, V]).value
	}
	r.add(key, v)
	return v
}

func (r *recent[K, V]) remove(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(r.entries[key])
}

func (r *recent[K, V]) add(key K, v V) {
	one := &kept[K, V]{key: key, value: v, weight: 1}
	if r.weigh != nil {
		one.weight = r.weigh(key, v)
	}
	if one.weight > r.most {
		return
	}
	r.weight += one.weight
	r.entries[key] = r.order.PushFront(one)
	for r.weight > r.most {
		r.drop(r.order.Back())
	}
}

func (r *recent[K, V]) drop(e *list.Element) {
	if e == nil {
		return
	}
	one := r.order.Remove(e).(*kept[K, V])
	r.weight -= one.weight
	delete(r.entries, one.key)
}
