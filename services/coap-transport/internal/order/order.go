// Package order keeps elements in the order in which they were put in. Each holds its neighbours itself, so putting one in, taking one out
// from anywhere and finding the oldest take the same short time, and no memory.
package order

// Links are an element's neighbours; the element embeds them, and is in one Queue at a time.
type Links[E any] struct{ previous, next *E }

func (l *Links[E]) links() *Links[E] { return l }

// Next returns the element put in after this one, nil when this is the newest.
func (l *Links[E]) Next() *E { return l.next }

// Linked is a pointer to what embeds Links of itself.
type Linked[E any] interface {
	*E
	links() *Links[E]
}

// Queue is elements, the oldest first. The zero value is empty.
type Queue[E any, P Linked[E]] struct {
	first, last *E
	length      int
}

// First returns the oldest, nil when there is none.
func (q *Queue[E, P]) First() *E { return q.first }

// Len is how many there are.
func (q *Queue[E, P]) Len() int { return q.length }

// Push puts one in that is in no Queue.
func (q *Queue[E, P]) Push(one *E) {
	*P(one).links() = Links[E]{previous: q.last}
	if q.last == nil {
		q.first = one
	} else {
		P(q.last).links().next = one
	}
	q.last = one
	q.length++
}

// Remove takes one out that is in q.
func (q *Queue[E, P]) Remove(one *E) {
	l := P(one).links()
	if l.previous == nil {
		q.first = l.next
	} else {
		P(l.previous).links().next = l.next
	}
	if l.next == nil {
		q.last = l.previous
	} else {
		P(l.next).links().previous = l.previous
	}
	*l = Links[E]{}
	q.length--
}
