package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// engineLog takes the engine's own log lines.
type engineLog struct{ s *Store }

// Infof logs at Debug: the engine speaks of every file it writes.
func (l engineLog) Infof(format string, args ...any) {
	if l.s.options.Log.Enabled(context.Background(), slog.LevelDebug) {
		l.s.options.Log.Debug("store engine", "text", fmt.Sprintf(format, args...))
	}
}

// Errorf logs what the engine gets over by itself.
func (l engineLog) Errorf(format string, args ...any) {
	if l.s.failure.Load() == nil { // after that it repeats itself without end
		l.s.options.Log.Warn("store engine", "text", fmt.Sprintf(format, args...))
	}
}

// Fatalf ends the store's service. The engine relies on it not to return, so its goroutine stays
// here until the process, told by Options.Fatal, ends.
func (l engineLog) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf("store engine: "+format, args...))
	select {}
}

// listener watches for what the engine would try again without end.
func (s *Store) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if errors.Is(err, syscall.ENOSPC) {
				s.fail(fmt.Errorf("the disk is full: %w", err))
				return
			}
			if s.failure.Load() == nil {
				s.options.Log.Warn("store engine: work in the background failed and is tried again", "err", err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.options.Log.Error("store file is damaged", "path", info.Path, "err", info.Details)
		},
	}
}

// figures reads the engine's figures when they are asked for.
type figures struct {
	db                               *pebble.DB
	disk, compaction, memory, amplif *prometheus.Desc
}

func newFigures(db *pebble.DB) *figures {
	return &figures{
		db:         db,
		disk:       prometheus.NewDesc("core_node_store_disk_bytes", "Disk the embedded store takes.", nil, nil),
		compaction: prometheus.NewDesc("core_node_store_compaction_debt_bytes", "What the embedded store has yet to compact.", nil, nil),
		memory:     prometheus.NewDesc("core_node_store_memory_bytes", "Memory of the embedded store's caches and tables in memory.", nil, nil),
		amplif:     prometheus.NewDesc("core_node_store_read_amplification_tables", "Tables one read of the embedded store may have to look into.", nil, nil),
	}
}

// Describe lists the figures.
func (f *figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.disk, f.compaction, f.memory, f.amplif} {
		out <- d
	}
}

// Collect reads them.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	m := f.db.Metrics()
	out <- prometheus.MustNewConstMetric(f.disk, prometheus.GaugeValue, float64(m.DiskSpaceUsage()))
	out <- prometheus.MustNewConstMetric(f.compaction, prometheus.GaugeValue, float64(m.Compact.EstimatedDebt))
	out <- prometheus.MustNewConstMetric(f.memory, prometheus.GaugeValue, float64(m.BlockCache.Size)+float64(m.MemTable.Size))
	out <- prometheus.MustNewConstMetric(f.amplif, prometheus.GaugeValue, float64(m.ReadAmp()))
}
