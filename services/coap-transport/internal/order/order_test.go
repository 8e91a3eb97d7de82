package order

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type element struct {
	Links[element]
	n int
}

func all(q *Queue[element, *element]) (all []*element) {
	for e := q.First(); e != nil; e = e.Next() {
		all = append(all, e)
	}
	return all
}

// TestQueue holds a Queue against a slice.
func TestQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q Queue[element, *element]
	var want []*element
	for n := range 2000 {
		if len(want) == 0 || random.IntN(5) < 2+n%3 {
			e := &element{n: n}
			q.Push(e)
			want = append(want, e)
		} else {
			at := random.IntN(len(want))
			q.Remove(want[at])
			if random.IntN(2) == 0 { // again, as the newest
				q.Push(want[at])
				want = append(want, want[at])
			}
			want = slices.Delete(want, at, at+1)
		}
		if got := all(&q); !slices.Equal(got, want) || q.Len() != len(want) {
			t.Fatalf("step %d: %d elements, length %d, want %d", n, len(got), q.Len(), len(want))
		}
	}
}

func TestQueueTakesNoMemory(t *testing.T) {
	var q Queue[element, *element]
	e := &element{}
	if n := testing.AllocsPerRun(100, func() { q.Push(e); q.Remove(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
