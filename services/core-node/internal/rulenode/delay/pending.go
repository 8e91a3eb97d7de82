package delay

import (
	"container/heap"
	"sync"
	"time"
)

// pending counts the messages held back: the engine keeps them, this only bounds how many. A restarted process counts anew.
type pending struct {
	most int

	mu  sync.Mutex
	due times
}

// add reports whether one more may be held back until due.
func (p *pending) add(now, due time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.due) > 0 && p.due[0] <= now.UnixNano() {
		heap.Pop(&p.due)
	}
	if len(p.due) >= p.most {
		return false
	}
	heap.Push(&p.due, due.UnixNano())
	return true
}

// times is a heap of times in ns, the earliest first.
type times []int64

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] < t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(x any)        { *t = append(*t, x.(int64)) }
func (t *times) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
