package bustest

import (
	"fmt"
	"testing"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// pastIsRead: the past of a topic is everything it holds, in order, and says which topic it is and where it ends.
func pastIsRead(t *testing.T, s *stage) {
	const count = 300
	topic, other := topics.RuleEngine+".past."+s.suffix, topics.RuleEngine+".other."+s.suffix
	s.create(t, topic, 1)
	s.create(t, other, 1)
	c := s.dial(t, "past", nil)
	before := s.past(t, c, topic, nil)
	for i := range count {
		publish(t, c, bus.Message{Topic: topic, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
	}
	next := int64(0)
	past := s.past(t, c, topic, func(r bus.Record) {
		if r.Offset != next {
			t.Errorf("offset %d, want %d", r.Offset, next)
		}
		next = r.Offset + 1
	})
	if next != count || past.First != 0 || past.End != count || before.First != 0 || before.End != 0 {
		t.Errorf("read up to %d, the past is %+v, and was %+v", next, past, before)
	}
	if past.Life != before.Life || past.Life == [16]byte{} {
		t.Errorf("the topic's id was %x and is %x", before.Life, past.Life)
	}
	if s.past(t, c, other, nil).Life == past.Life {
		t.Error("two topics have one id")
	}
	if _, err := c.Past(t.Context(), s.topic, func(bus.Record) {}); err == nil {
		t.Error("a topic of several partitions has one past")
	}
}

func (s *stage) past(t *testing.T, c *bus.Client, topic string, handle func(bus.Record)) bus.Past {
	t.Helper()
	if handle == nil {
		handle = func(bus.Record) {}
	}
	past, err := c.Past(t.Context(), topic, handle)
	if err != nil {
		t.Fatal(err)
	}
	return past
}
