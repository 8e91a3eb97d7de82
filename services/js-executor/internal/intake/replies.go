package intake

import (
	"sync"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/script"
)

// recordBytes is how large a record of answers grows, unless one answer is larger.
const recordBytes = 256 << 10

// replies sends answers: one record per caller is under way at a time, and what is answered meanwhile is the next.
type replies struct {
	o *Options

	mu     sync.Mutex
	topics map[string]*reply
}

// reply is one caller's answers.
type reply struct {
	records [][]byte // each as many answers as fit; the last is being filled
	counts  []int
	bytes   int
	flying  bool
}

// add sends an answer, or keeps it for the next record.
func (s *replies) add(topic string, a *script.Answer) {
	s.mu.Lock()
	r := s.topics[topic]
	if r == nil {
		r = &reply{}
		s.topics[topic] = r
	}
	if r.bytes > s.o.ReplyBytes {
		s.mu.Unlock()
		s.o.Watcher.Unsent(1)
		return
	}
	last := len(r.records) - 1
	if last < 0 || len(r.records[last])+len(a.Text) > recordBytes {
		r.records, r.counts = append(r.records, nil), append(r.counts, 0)
		last++
	}
	before := len(r.records[last])
	r.records[last] = script.AppendAnswer(r.records[last], a)
	r.counts[last]++
	r.bytes += len(r.records[last]) - before
	flying := r.flying
	r.flying = true
	s.mu.Unlock()
	if !flying {
		s.send(topic, r)
	}
}

// send publishes what waits, one record after the other, as far as the bus takes it on.
func (s *replies) send(topic string, r *reply) {
	for {
		s.mu.Lock()
		if len(r.records) == 0 {
			r.flying = false
			delete(s.topics, topic)
			s.mu.Unlock()
			return
		}
		record, count := r.records[0], r.counts[0]
		r.records, r.counts = r.records[1:], r.counts[1:]
		r.bytes -= len(record)
		s.mu.Unlock()
		err := s.o.Bus.Publish(bus.Message{
			Topic: topic, Value: script.AppendSource(record, s.o.Name),
			Headers: []bus.Header{{Key: topics.KindHeader, Value: []byte(topics.KindScript)}},
		}, func(err error) {
			if err != nil {
				s.o.Watcher.Unsent(count)
			}
			s.send(topic, r)
		})
		if err == nil {
			return
		}
		s.o.Watcher.Unsent(count) // the callers ask again
	}
}
