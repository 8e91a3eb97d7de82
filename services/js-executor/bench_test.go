package jsexecutor

import (
	"fmt"
	"testing"

	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/processor"
)

// BenchmarkRoundTrips is calls over the embedded broker and back, so many under way: one iteration is one call.
func BenchmarkRoundTrips(b *testing.B) {
	for _, source := range []struct{ name, body string }{
		{"filter", "return msg.temperature > 20;"},
		{"transform", "metadata.x = msg.temperature*2; msg.y = 1; return {msg: msg, metadata: metadata, msgType: msgType};"},
	} {
		for _, window := range []int{1, 50, 500} {
			b.Run(fmt.Sprintf("%s/window %d", source.name, window), func(b *testing.B) {
				broker := bustest.Broker(b)
				e := run(b, broker, "executor", nil)
				c := dial(b, broker, "core")
				k := call{body: source.body, args: []string{`{"temperature":21.5,"humidity":40,"pressure":1013.2,"voltage":3.3}`, `{"deviceName":"Meter 1","ts":"1700000000000"}`, "POST_TELEMETRY_REQUEST"}}
				c.ask(k)
				k.bodiless = true
				batch := make([]call, max(1, window/10)) // as many as wait while a record is under way
				for i := range batch {
					batch[i] = k
				}
				own, theirs := processor.Used(processor.Self), e.scriptTime(b)
				b.ResetTimer()
				var flying [][]chan script.Answer
				for done := 0; done < b.N; done += len(batch) {
					flying = append(flying, c.begin(batch...))
					if len(flying)*len(batch) >= window {
						for _, end := range flying[0] {
							<-end
						}
						flying = flying[1:]
					}
				}
				for _, ends := range flying {
					for _, end := range ends {
						<-end
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				ownNow, theirsNow := processor.Used(processor.Self), e.scriptTime(b)
				b.ReportMetric(float64((ownNow-own).Nanoseconds())/1000/float64(b.N), "µs/call")
				b.ReportMetric(float64((theirsNow-theirs).Nanoseconds())/1000/float64(b.N), "script-µs/call")
			})
		}
	}
}
