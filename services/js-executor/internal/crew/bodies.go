package crew

import (
	"container/list"

	"github.com/sluice-iot/sluice/proto/script"
)

// bodies are the scripts' texts, those used last.
type bodies struct {
	most, mostBytes int
	bytes           int
	order           *list.List // of *text, the one used last in front
	byID            map[script.ID]*list.Element
}

type text struct {
	id         script.ID
	parameters []string
	body       string
}

func newBodies(most, mostBytes int) bodies {
	return bodies{most: most, mostBytes: mostBytes, order: list.New(), byID: map[script.ID]*list.Element{}}
}

func (b *bodies) has(id script.ID) bool { return b.byID[id] != nil }

// get returns a script's text and keeps it from being the next to go.
func (b *bodies) get(id script.ID) *text {
	e := b.byID[id]
	if e == nil {
		return nil
	}
	b.order.MoveToFront(e)
	found, _ := e.Value.(*text)
	return found
}

func (b *bodies) put(id script.ID, parameters []string, body string) {
	if b.get(id) != nil {
		return
	}
	own := &text{id: id, body: string([]byte(body))} // the record it came in is not kept for it
	for _, p := range parameters {
		own.parameters = append(own.parameters, string([]byte(p)))
	}
	b.byID[id] = b.order.PushFront(own)
	b.bytes += len(body)
	for b.order.Len() > 1 && (b.order.Len() > b.most || b.bytes > b.mostBytes) {
		oldest, _ := b.order.Remove(b.order.Back()).(*text)
		delete(b.byID, oldest.id)
		b.bytes -= len(oldest.body)
	}
}
