package payload

import (
	"encoding/json"
	"testing"
)

var readings = map[string]string{
	"flat":   `{"temperature":21.57,"humidity":48.2,"pressure":1013.25,"status":"operational","uptimeSeconds":8734523,"door_open":false}`,
	"four":   `{"temperature":21.5,"humidity":48.25,"active":true,"counter":123456,"note":"a reading of about one hundred bytes"}`,
	"timed":  `{"ts":1634712287000,"values":{"temperature":21.57,"humidity":48.2,"status":"operational","uptimeSeconds":8734523}}`,
	"array":  `[{"ts":1634712287000,"values":{"temperature":21.57,"humidity":48.2}},{"ts":1634712288000,"values":{"temperature":21.6,"humidity":48.1}}]`,
	"nested": `{"position":{"lat":52.52,"lon":13.405,"accuracy":[1,2,3]},"label":"caf\u00e9"}`,
}

func BenchmarkTelemetry(b *testing.B) {
	for name, reading := range readings {
		b.Run(name, func(b *testing.B) {
			d, data := NewDecoder(defaults), []byte(reading)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := d.Telemetry(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStandardLibrary is what the decoder is held against.
func BenchmarkStandardLibrary(b *testing.B) {
	data := []byte(readings["flat"])
	b.ReportAllocs()
	for b.Loop() {
		var v map[string]any
		if err := json.Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
