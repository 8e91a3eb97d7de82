package engine

import "testing"

// BenchmarkRun is calls in one engine, each with a runtime of its own.
func BenchmarkRun(b *testing.B) {
	for _, source := range []struct{ name, body string }{
		{"filter", "return msg.temperature > 20;"},
		{"transform", "metadata.x = msg.temperature*2; msg.y = 1; return {msg: msg, metadata: metadata, msgType: msgType};"},
	} {
		b.Run(source.name, func(b *testing.B) {
			program, fault := Compile([]string{"msg", "metadata", "msgType"}, source.body)
			if fault != nil {
				b.Fatal(fault)
			}
			e := New(Limits{ResultChars: 300_000, Depth: 2000})
			args := []string{`{"temperature":21.5,"humidity":40,"pressure":1013.2,"voltage":3.3}`, `{"deviceName":"Meter 1","ts":"1700000000000"}`, "POST_TELEMETRY_REQUEST"}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, fault := e.Run(program, args); fault != nil {
					b.Fatal(fault)
				}
			}
		})
	}
}
