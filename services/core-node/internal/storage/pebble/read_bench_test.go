package pebble_test

import (
	"math"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

// BenchmarkLatest reads three latest values of a device among 1,000, and of the only one there is, whose
// every value in the table in memory has to be met.
func BenchmarkLatest(b *testing.B) {
	for name, devices := range map[string]int{"of 1000": 1000, "of 1": 1} {
		b.Run(name, func(b *testing.B) {
			s, err := pebble.Open(pebble.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			batch := messages(1000, devices)
			for round := range int64(10) {
				for i := range batch {
					batch[i].Time, batch[i].Stamp = round*1000+int64(i), round*1000+int64(i)
				}
				for from := 0; from < len(batch); from += 10 {
					if err := s.Write(b.Context(), batch[from:from+10]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				found, err := s.Latest(b.Context(), batch[0].Entity, nil)
				if err != nil || len(found) != 3 {
					b.Fatal(found, err)
				}
			}
		})
	}
}

// BenchmarkRange reads a series of 100,000 points through, over ten days.
func BenchmarkRange(b *testing.B) {
	s, err := pebble.Open(pebble.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const points = 100_000
	batch := messages(1000, 1)
	for from := int64(0); from < points; from += 1000 {
		for i := range batch {
			batch[i].Time = (from + int64(i)) * 8640
		}
		if err := s.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	for name, newestFirst := range map[string]bool{"ascending": false, "descending": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range s.Range(b.Context(), batch[0].Entity, "humidity", storage.Span{Start: 0, End: math.MaxInt64}, newestFirst) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != points {
					b.Fatalf("%d points", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/points, "ns/point")
		})
	}
}
