package bus_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
)

// loads are how many publishers there are and how many messages each has in flight.
var loads = []struct{ publishers, window int }{{1, 1}, {50, 1}, {200, 16}}

const messageBytes = 150

// BenchmarkPublish measures acknowledged messages.
func BenchmarkPublish(b *testing.B) {
	for _, load := range loads {
		b.Run(fmt.Sprintf("%dx%d", load.publishers, load.window), func(b *testing.B) {
			client := bustest.Dial(b, benchBroker(b), bus.Options{Node: "bench"})
			measure(b, load.publishers, load.window, func(key, value []byte, done func(error)) {
				m := bus.Message{Topic: topics.RuleEngine, Key: key, Value: value}
				for client.Publish(m, done) != nil {
					<-client.Room(m.Topic, key)
				}
			})
		})
	}
}

// BenchmarkWriter measures the same through kafka-go's Writer.
func BenchmarkWriter(b *testing.B) {
	for _, load := range loads {
		b.Run(fmt.Sprintf("%dx%d", load.publishers, load.window), func(b *testing.B) {
			w := &kafka.Writer{
				Addr: kafka.TCP(benchBroker(b)), Topic: topics.RuleEngine, RequiredAcks: kafka.RequireAll,
				Async: true, BatchTimeout: time.Millisecond, BatchSize: 5000, BatchBytes: 1 << 19, Balancer: kafka.Murmur2Balancer{},
				Completion: func(messages []kafka.Message, err error) {
					for i := range messages {
						if done, ok := messages[i].WriterData.(func(error)); ok {
							done(err)
						}
					}
				},
			}
			b.Cleanup(func() {
				if err := w.Close(); err != nil {
					b.Error(err)
				}
			})
			measure(b, load.publishers, load.window, func(key, value []byte, done func(error)) {
				if err := w.WriteMessages(b.Context(), kafka.Message{Key: key, Value: value, WriterData: done}); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkRead measures draining a partition from the disk, over and over.
func BenchmarkRead(b *testing.B) {
	const stored = 500_000
	client := bustest.Dial(b, benchBroker(b), bus.Options{Node: "bench"})
	m := bus.Message{Topic: topics.RuleEngine, Key: []byte("device"), Value: make([]byte, messageBytes)}
	var storing sync.WaitGroup
	for range stored {
		storing.Add(1)
		for client.Publish(m, func(error) { storing.Done() }) != nil {
			<-client.Room(m.Topic, m.Key)
		}
	}
	storing.Wait()
	partitions, err := client.Partitions(b.Context(), m.Topic)
	if err != nil {
		b.Fatal(err)
	}
	partition := bus.Partition(m.Key, partitions)
	open := func() bus.Reader {
		r, err := client.OpenReader(b.Context(), m.Topic, partition)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	r := open()
	b.ReportAllocs()
	b.ResetTimer()
	for read, before := 0, 0; read < b.N; {
		records, err := r.Read(b.Context(), 1000)
		if err != nil {
			b.Fatal(err)
		}
		read += len(records)
		if read-before == stored { // nothing was committed: from the start again
			if before = read; r.Close() != nil {
				b.Fatal("close")
			}
			r = open()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	if err := r.Close(); err != nil {
		b.Error(err)
	}
}

// measure runs b.N messages through publish.
func measure(b *testing.B, publishers, window int, publish func(key, value []byte, done func(error))) {
	var left atomic.Int64
	var failed atomic.Int64
	value := make([]byte, messageBytes)
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	left.Store(int64(b.N))
	for p := range publishers {
		key := binary.BigEndian.AppendUint64(nil, uint64(p))
		slots := make(chan struct{}, window)
		done := func(err error) {
			if err != nil {
				failed.Add(1)
			}
			<-slots
		}
		all.Go(func() {
			for left.Add(-1) >= 0 {
				slots <- struct{}{}
				publish(key, value, done)
			}
			for range window { // wait for what is in flight
				slots <- struct{}{}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/msg") // broker included; steadier than the clock on a shared machine
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	if failed.Load() > 0 {
		b.Errorf("%d of %d messages failed", failed.Load(), b.N)
	}
}

// cpuTime returns the processor time this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
