package wire

import (
	"testing"

	"github.com/segmentio/kafka-go"
)

// appendTopicIDAnswer is what a cluster of two brokers tells about one topic.
func appendTopicIDAnswer(topic string, code int, id [16]byte) []byte {
	var f frame
	compact := func(text string) {
		f.int8(len(text) + 1)
		f = append(f, text...)
	}
	f.int8(1) // a tag in the header: its number, its size, a byte
	f.int8(5)
	f.int8(1)
	f.int8(9)
	f.int32(0)
	f.int8(3)
	for node := range 2 {
		f.int32(node)
		compact("127.0.0.1")
		f.int32(9092)
		f.int8(0) // no rack
		f.int8(0)
	}
	compact("cluster")
	f.int32(1)
	f.int8(2)
	f.int16(code)
	compact(topic)
	f = append(f, id[:]...)
	return f
}

func TestTopicIDAnswer(t *testing.T) {
	want := [16]byte{1, 2, 3, 15: 16}
	raw := appendTopicIDAnswer("tb.events", 0, want)
	if id, code, err := topicIDAnswer(raw, "tb.events"); id != want || code != 0 || err != nil {
		t.Errorf("%x %v %v", id, code, err)
	}
	for cut := range len(raw) {
		if _, _, err := topicIDAnswer(raw[:cut], "tb.events"); err == nil {
			t.Errorf("%d of %d bytes pass for an answer", cut, len(raw))
		}
	}
	if _, _, err := topicIDAnswer(raw, "tb.other"); err == nil {
		t.Error("an answer about another topic passes")
	}
	refused := appendTopicIDAnswer("tb.events", int(kafka.UnknownTopicOrPartition), [16]byte{})
	if _, code, err := topicIDAnswer(refused, "tb.events"); code != kafka.UnknownTopicOrPartition || err != nil {
		t.Errorf("a refusal reads as %v %v", code, err)
	}
}

func FuzzTopicIDAnswer(f *testing.F) {
	f.Add(appendTopicIDAnswer("t", 0, [16]byte{7}))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if id, _, err := topicIDAnswer(answer, "t"); err != nil && id != [16]byte{} {
			t.Error("an id with an error")
		}
	})
}
