package ota

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of packages.
type Metrics struct {
	uploads       prometheus.Counter
	uploadedBytes prometheus.Counter
	readBytes     prometheus.Counter
	orphans       prometheus.Counter
	announced     prometheus.Counter
	refused       prometheus.Counter
}

// NewMetrics registers the figures.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		uploads:       counter("core_ota_uploads_total", "OTA packages whose data was stored."),
		uploadedBytes: counter("core_ota_uploaded_bytes_total", "Bytes of OTA packages stored."),
		readBytes:     counter("core_ota_read_bytes_total", "Bytes of OTA packages read from the store of blobs."),
		orphans:       counter("core_ota_blobs_removed_total", "Blobs removed because no OTA package names them: of deleted packages, and of uploads that came to nothing."),
	}
	m.announced = counter("core_ota_announced_total", "Packages that devices were told of.")
	m.refused = counter("core_ota_announcements_refused_total", "Packages a device could not be told of, as its owner refuses the values.")
	registry.MustRegister(m.uploads, m.uploadedBytes, m.readBytes, m.orphans, m.announced, m.refused)
	return m
}

func (m *Metrics) uploaded(bytes int64) {
	m.uploads.Inc()
	m.uploadedBytes.Add(float64(bytes))
}

func (m *Metrics) read(bytes int) { m.readBytes.Add(float64(bytes)) }
