package pebble_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

// messages makes n messages of three values each, from as many devices as given, at ascending times.
func messages(n, devices int) []storage.Write {
	ids := make([]ident.EntityID, devices)
	for i := range ids {
		ids[i] = ident.EntityID{Type: ident.Device, ID: ident.New()}
	}
	batch := make([]storage.Write, n)
	for i := range batch {
		batch[i] = storage.Write{Entity: ids[i%devices], Values: []telemetry.KeyValue{
			{Key: "temperature", Value: telemetry.OfDouble(21.5)},
			{Key: "humidity", Value: telemetry.OfLong(int64(i))},
			{Key: "active", Value: telemetry.OfBool(true)},
		}}
	}
	return batch
}

// BenchmarkWrite stores 200 messages of three values with their latest ones per synced batch.
func BenchmarkWrite(b *testing.B) {
	for _, devices := range []int{20, 200} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			s, err := pebble.Open(pebble.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			batch := messages(200, devices)
			now := time.Now().UnixMilli()
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				for i := range batch {
					n++
					batch[i].Time, batch[i].Stamp = now+n, now*1000+n
				}
				if err := s.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkRaw writes as many rows of the same size straight into the engine: 200 messages' history,
// and the latest values of 200 devices, per synced batch.
func BenchmarkRaw(b *testing.B) {
	for _, devices := range []int{20, 200} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			db, err := engine.Open(b.TempDir(), &engine.Options{MemTableSize: 8 << 20, FormatMajorVersion: engine.FormatTableFormatV6, Logger: silent{}})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			key, value := make([]byte, 38), make([]byte, 17)
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				batch := db.NewBatch()
				for i := range 600 + 3*devices {
					copy(key, "h\x04sixteen byte id.")
					binary.BigEndian.PutUint64(key[2:], uint64(i%(3*devices))*0x9E3779B97F4A7C15)
					if key[0] = 'h'; i >= 600 {
						key[0] = 'l'
					}
					n++
					binary.BigEndian.PutUint64(key[30:], n/uint64(3*devices))
					if key[0] == 'l' {
						clear(key[30:])
					}
					binary.BigEndian.PutUint64(value, n)
					if err := batch.Set(key, value, nil); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.Commit(engine.Sync); err != nil {
					b.Fatal(err)
				}
				batch.Close()
			}
			b.ReportMetric(float64(b.N*200)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}
