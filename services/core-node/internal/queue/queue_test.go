package queue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, text string) ([]Queue, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "queues.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(file, Standard(0, time.Second))
}

func TestAFileReplacesAndAdds(t *testing.T) {
	got, err := read(t, `[
		{"name":"Main","topic":"ignored","packProcessingTimeout":2000,"submitStrategy":{"type":"BATCH","batchSize":7},
		 "processingStrategy":{"type":"RETRY_ALL","retries":2,"failurePercentage":50,"pauseBetweenRetries":1,"maxPauseBetweenRetries":4}},
		{"name":"Slow","submitStrategy":{"type":"SEQUENTIAL"},"processingStrategy":{"type":"SKIP_ALL_FAILURES"}}]`)
	if err != nil {
		t.Fatal(err)
	}
	want := Standard(0, time.Second)
	want[0] = Queue{
		Name: "Main", Submit: Batch, BatchSize: 7, Processing: RetryAll, Retries: 2, FailurePercentage: 50,
		Pause: time.Second, MaxPause: 4 * time.Second, Timeout: 2 * time.Second,
	}
	want = append(want, Queue{Name: "Slow", Submit: Sequential, Processing: SkipAllFailures, Retries: Unlimited, Timeout: time.Minute})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got[0].Topic() != "tb.rule-engine" || got[3].Topic() != "tb.rule-engine.Slow" {
		t.Errorf("topics %s and %s", got[0].Topic(), got[3].Topic())
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                "read queues of",
		`[{"name":"a b"}]`: `queue 0 "a b": name`,
		`[{"name":"a"}]`:   "submitStrategy.type",
		`[{"name":"a","submitStrategy":{"type":"BATCH"}}]`:                                                                         "submitStrategy.batchSize",
		`[{"name":"a","submitStrategy":{"type":"BURST"}}]`:                                                                         "processingStrategy.type",
		`[{"name":"a","submitStrategy":{"type":"BURST"},"processingStrategy":{"type":"RETRY_ALL","retries":-2}}]`:                  "processingStrategy.retries",
		`[{"name":"a","submitStrategy":{"type":"BURST"},"processingStrategy":{"type":"RETRY_ALL","failurePercentage":101}}]`:       "failurePercentage",
		`[{"name":"a","submitStrategy":{"type":"BURST"},"processingStrategy":{"type":"RETRY_ALL","pauseBetweenRetries":3}}]`:       "maxPauseBetweenRetries",
		`[{"name":"a","packProcessingTimeout":-1,"submitStrategy":{"type":"BURST"},"processingStrategy":{"type":"RETRY_FAILED"}}]`: "packProcessingTimeout",
	} {
		if _, err := read(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one saying %s", text, err, want)
		}
	}
}
