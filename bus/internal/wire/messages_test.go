package wire

import (
	"bytes"
	"testing"

	"github.com/segmentio/kafka-go"
)

// appendFetchAnswer is what a broker sends for one partition.
func appendFetchAnswer(topic string, partition int, code int, end int64, aborted int, batches []byte) []byte {
	var f frame
	f.int32(0)
	f.partition("p.", topic, partition)
	f.int16(code)
	f.int64(end)
	f.int64(end)
	f.int32(aborted)
	for range max(0, aborted) {
		f.int64(1)
		f.int64(2)
	}
	f.int32(len(batches))
	return append(f, batches...)
}

func appendProduceAnswer(topic string, partition int, code int) []byte {
	var f frame
	f.partition("p.", topic, partition)
	f.int16(code)
	f.int64(7)
	f.int64(-1)
	f.int64(0)
	f.int32(0)
	return f
}

func TestFetchAnswer(t *testing.T) {
	for _, aborted := range []int{-1, 0, 3} {
		raw := appendFetchAnswer("t", 5, 0, 42, aborted, []byte("batches"))
		batches, end, code, err := fetchAnswer(raw, "p.", "t", 5)
		if string(batches) != "batches" || end != 42 || code != 0 || err != nil {
			t.Errorf("%d aborted: %q %d %v %v", aborted, batches, end, code, err)
		}
		for cut := range len(raw) {
			if _, _, _, err := fetchAnswer(raw[:cut], "p.", "t", 5); err == nil {
				t.Errorf("%d aborted: %d of %d bytes pass for an answer", aborted, cut, len(raw))
			}
		}
	}
	refused := appendFetchAnswer("t", 5, int(kafka.OffsetOutOfRange), -1, 0, nil)
	if _, _, code, err := fetchAnswer(refused, "p.", "t", 5); code != kafka.OffsetOutOfRange || err != nil {
		t.Errorf("a refusal reads as %v %v", code, err)
	}
	for _, other := range [][]byte{appendFetchAnswer("u", 5, 0, 1, 0, nil), appendFetchAnswer("t", 6, 0, 1, 0, nil), appendFetchAnswer("", 5, 0, 1, 0, nil)} {
		if _, _, _, err := fetchAnswer(other, "p.", "t", 5); err == nil {
			t.Error("an answer about another partition passes")
		}
	}
}

func TestProduceAnswer(t *testing.T) {
	raw := appendProduceAnswer("t", 1, int(kafka.NotLeaderForPartition))
	if code, err := produceAnswer(raw, "p.", "t", 1); code != kafka.NotLeaderForPartition || err != nil {
		t.Errorf("a refusal reads as %v %v", code, err)
	}
	for cut := range len(raw) {
		if _, err := produceAnswer(raw[:cut], "p.", "t", 1); err == nil {
			t.Errorf("%d of %d bytes pass for an answer", cut, len(raw))
		}
	}
}

// FuzzAnswers: no bytes from a broker do more than fail.
func FuzzAnswers(f *testing.F) {
	f.Add(appendFetchAnswer("t", 0, 0, 9, 2, []byte("batches")))
	f.Add(appendFetchAnswer("t", 0, 1, -1, -1, nil))
	f.Add(appendProduceAnswer("t", 0, 6))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if batches, _, _, err := fetchAnswer(raw, "p.", "t", 0); err == nil && len(batches) > len(raw) {
			t.Errorf("%d bytes hold %d", len(raw), len(batches))
		}
		if _, err := produceAnswer(raw, "p.", "t", 0); err == nil && len(raw) < 20 {
			t.Errorf("%d bytes pass for an answer", len(raw))
		}
	})
}
