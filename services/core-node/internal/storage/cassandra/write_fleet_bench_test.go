//go:build fleet

package cassandra

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// load is what both benchmarks write: packs of messages of three values, each with its latest ones.
type load struct{ devices, messages int }

var loads = []load{{20, 200}, {200, 200}, {200, 2000}}

func (l load) String() string { return fmt.Sprintf("devices=%d/pack=%d", l.devices, l.messages) }

// writers is how many partitions' owners write side by side.
const writers = 4

// entities are n devices.
func entities(n int) []ident.EntityID {
	ids := make([]ident.EntityID, n)
	for i := range ids {
		ids[i] = ident.EntityID{Type: ident.Device, ID: ident.New()}
	}
	return ids
}

// pack makes a pack of messages, a millisecond each, the latest values coalesced as the saver does.
func (l load) pack() []storage.Write {
	ids := entities(l.devices)
	batch := make([]storage.Write, l.messages)
	for i := range batch {
		batch[i] = storage.Write{
			Entity: ids[i%l.devices], SkipLatest: i+l.devices < l.messages,
			Values: []telemetry.KeyValue{
				{Key: "temperature", Value: telemetry.OfDouble(21.5)},
				{Key: "humidity", Value: telemetry.OfLong(int64(i))},
				{Key: "active", Value: telemetry.OfBool(true)},
			},
		}
	}
	return batch
}

// run counts the messages that writers packs at a time take.
func (l load) run(b *testing.B, write func(writer int, first int64) error) {
	b.ReportAllocs()
	spent := processor(b)
	var group sync.WaitGroup
	todo := make(chan int64, 1)
	for w := range writers {
		group.Go(func() {
			for first := range todo {
				if err := write(w, first); err != nil {
					b.Error(err)
				}
			}
		})
	}
	now, n := time.Now().UnixMilli(), 0
	for b.Loop() {
		todo <- now + int64(n*l.messages)
		n++
	}
	close(todo)
	group.Wait()
	b.ReportMetric(float64(n*l.messages)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64((processor(b)-spent).Microseconds())/float64(n*l.messages), "cpu-µs/message")
}

// BenchmarkWrite stores packs.
func BenchmarkWrite(b *testing.B) {
	s := open(b, time.Now)
	for _, l := range loads {
		b.Run(l.String(), func(b *testing.B) {
			var packs [writers][]storage.Write
			for w := range packs {
				packs[w] = l.pack()
			}
			l.run(b, func(w int, first int64) error {
				for i := range packs[w] {
					packs[w][i].Time, packs[w][i].Stamp = first+int64(i), (first+int64(i))*1000
				}
				return s.Write(b.Context(), packs[w])
			})
		})
	}
}

// BenchmarkRaw writes as many rows of the same size straight with the driver: the history of a pack,
// one request per device, and the latest values of its devices, as many requests at once as the store has.
func BenchmarkRaw(b *testing.B) {
	s := open(b, time.Now)
	for _, l := range loads {
		b.Run(l.String(), func(b *testing.B) {
			var devices [writers][]ident.EntityID
			for w := range devices {
				devices[w] = entities(l.devices)
			}
			slots := make(chan struct{}, s.options.InFlight)
			l.run(b, func(w int, first int64) error {
				var group sync.WaitGroup
				var failed error
				for _, device := range devices[w] {
					for _, raw := range []func(ident.EntityID, load, int64, *gocql.Batch){rawHistory, rawLatest} {
						slots <- struct{}{}
						group.Go(func() {
							defer func() { <-slots }()
							batch := s.session().Batch(gocql.UnloggedBatch).Consistency(s.consistency)
							raw(device, l, first, batch)
							if err := batch.ExecContext(b.Context()); err != nil {
								failed = err
							}
						})
					}
				}
				group.Wait()
				return failed
			})
		})
	}
}

var rawNames = [][]byte{[]byte("temperature"), []byte("humidity"), []byte("active")}

func rawHistory(device ident.EntityID, l load, first int64, batch *gocql.Batch) {
	entity, day := appendEntity(nil, device), first/dayMillis
	for i := range l.messages / l.devices {
		for _, name := range rawNames {
			value := binary.BigEndian.AppendUint64([]byte{2}, uint64(first))
			batch.Query(statements[tableHistory], first*1000, value, entity, day, name, int32(first%dayMillis)+int32(i))
		}
	}
}

func rawLatest(device ident.EntityID, _ load, first int64, batch *gocql.Batch) {
	entity := appendEntity(nil, device)
	for _, name := range rawNames {
		value := make([]byte, 25)
		value[16] = 2
		batch.Query(statements[tableLatest], first, value, entity, name, int64(0))
	}
}

// processor is the time this process has computed; unlike the time that has passed, it says something on a busy machine.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkRawByKey writes history in the schema not chosen: a partition for each key of a device and
// day. BenchmarkRawByDay writes the same rows in the schema chosen.
func BenchmarkRawByKey(b *testing.B) {
	benchmarkSchema(b, "CREATE TABLE IF NOT EXISTS bench_by_key (entity blob, name blob, day bigint, at int, v blob, PRIMARY KEY ((entity, name, day), at))",
		"UPDATE bench_by_key USING TIMESTAMP ? SET v = ? WHERE entity = ? AND day = ? AND name = ? AND at = ?", true)
}

// BenchmarkRawByDay is BenchmarkRawByKey's other side.
func BenchmarkRawByDay(b *testing.B) {
	benchmarkSchema(b, "CREATE TABLE IF NOT EXISTS bench_by_day (entity blob, name blob, day bigint, at int, v blob, PRIMARY KEY ((entity, day), name, at))",
		"UPDATE bench_by_day USING TIMESTAMP ? SET v = ? WHERE entity = ? AND day = ? AND name = ? AND at = ?", false)
}

func benchmarkSchema(b *testing.B, table, statement string, byKey bool) {
	s := open(b, time.Now)
	if err := s.session().Query(table).ExecContext(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, l := range loads {
		b.Run(l.String(), func(b *testing.B) {
			devices := entities(l.devices)
			l.run(b, func(_ int, first int64) error {
				return s.sideBySide(b.Context(), l.devices, func(ctx context.Context, i int) error {
					entity, day := appendEntity(nil, devices[i]), first/dayMillis
					var batch *gocql.Batch
					for n, name := range rawNames {
						if n == 0 || byKey {
							batch = s.session().Batch(gocql.UnloggedBatch).Consistency(s.consistency)
						}
						for at := range l.messages / l.devices {
							value := binary.BigEndian.AppendUint64([]byte{2}, uint64(first))
							batch.Query(statement, first*1000, value, entity, day, name, int32(first%dayMillis)+int32(at))
						}
						if byKey || n == len(rawNames)-1 {
							if err := batch.ExecContext(ctx); err != nil {
								return err
							}
						}
					}
					return nil
				})
			})
		})
	}
}
