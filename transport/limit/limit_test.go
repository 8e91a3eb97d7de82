package limit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Rate{
		"":                         nil,
		" ":                        nil,
		"200:1":                    {{200, time.Second}},
		"200:1,6000:60,14000:3600": {{200, time.Second}, {6000, time.Minute}, {14000, time.Hour}},
		" 1:2 , 3:4 ":              {{1, 2 * time.Second}, {3, 4 * time.Second}},
	} {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"5", "5:", ":5", "0:1", "1:0", "-1:1", "1:-1", "a:1", "1:b", "1:1,", "1:1:1", "1:99999999999"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "200:1", "200:1,6000:60", "1:1:1", "-1:5"} {
		f.Add(text)
	}
	now := time.Unix(0, 0)
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := Parse(text)
		if err != nil {
			return
		}
		b := New(rate, now)
		if !b.Take(now, 1) {
			t.Fatalf("%q lets nothing pass", text)
		}
	})
}

func TestBucket(t *testing.T) {
	now := time.Unix(1000, 0)
	rate, _ := Parse("3:1,5:10")
	b := New(rate, now)
	take := func(n int, want bool) {
		t.Helper()
		if got := b.Take(now, n); got != want {
			t.Errorf("taking %d: %v, want %v", n, got, want)
		}
	}
	take(4, false) // more than a window holds, and nothing is taken
	take(3, true)
	take(1, false)
	now = now.Add(time.Second)
	take(2, true) // 5 + 0.5 − 3 of the long window
	take(1, false)
	now = now.Add(time.Second)
	take(1, true)
	take(1, false)
	now = now.Add(-time.Hour) // a clock set back refills nothing
	take(1, false)
	now = now.Add(3 * time.Hour)
	take(3, true)
	var unlimited *Bucket
	if !unlimited.Take(now, 1<<40) {
		t.Error("a nil bucket refuses")
	}
}

func TestMeter(t *testing.T) {
	now := time.Unix(1000, 0)
	if rates, err := ParseRates("", "", ""); err != nil || NewMeter(rates, now) != nil {
		t.Errorf("no limits give a meter (%v)", err)
	}
	rates, err := ParseRates("1:60", "2:60", "5:60")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMeter(rates, now)
	for i, step := range []struct{ got, want bool }{
		{m.Telemetry(now, 0), true}, // no values: it counts as a message
		{m.Message(now), false},
		{m.Telemetry(now, 4), true},
		{m.Telemetry(now, 2), false}, // one value left
		{m.Telemetry(now, 1), true},  // what was refused was not taken
		{m.Telemetry(now, 1), false}, // two messages gone
	} {
		if step.got != step.want {
			t.Errorf("step %d: %v, want %v", i, step.got, step.want)
		}
	}
	m.Return(1)
	if !m.Telemetry(now, 1) || m.Telemetry(now, 1) {
		t.Error("one returned is not one that may pass")
	}
	m.Return(0)
	if !m.Message(now) {
		t.Error("a returned message may not pass")
	}
	if _, err := ParseRates("", "x", ""); err == nil || err.Error()[:9] != "telemetry" {
		t.Errorf("error %v does not name the rate", err)
	}
	var unlimited *Meter
	unlimited.Return(5)
	if !unlimited.Message(now) || !unlimited.Telemetry(now, 1000) {
		t.Error("a nil meter refuses")
	}
}
