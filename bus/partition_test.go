package bus

import (
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"
)

// TestPartitionIsKafkas holds murmur2 to vectors of Kafka's own tests and the whole to kafka-go's
// balancer for Java's default.
func TestPartitionIsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
	for i := range 1000 {
		key := fmt.Appendf(nil, "device %d%s", i, make([]byte, i%5))
		for _, count := range []int{1, 2, 24} {
			all := make([]int, count)
			for p := range all {
				all[p] = p
			}
			want := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, all...)
			if got := partitionOf(key, count); got != want {
				t.Fatalf("partition of %q out of %d is %d, want %d", key, count, got, want)
			}
		}
	}
}

func BenchmarkPartition(b *testing.B) {
	key := []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		partitionOf(key, 24)
	}
}
