package deduplication

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

// sent is one message: when it comes, which time it says it is of, both in seconds after the first, and what.
type sent struct {
	after, of int
	data      string
}

func metadataOf(s sent) map[string]string {
	return map[string]string{"ts": strconv.FormatInt(rulenodetest.NowMillis+int64(s.of)*1000, 10)}
}

func TestOneOfMany(t *testing.T) {
	for _, c := range []struct {
		name, config string
		sent         []sent
		// want is what goes on: what each place holds in the end, with when in seconds.
		want []string
	}{
		{
			"the first of a minute", "",
			[]sent{{0, 0, "1"}, {10, 10, "2"}, {59, 59, "3"}, {60, 60, "4"}, {70, 70, "5"}},
			[]string{"T 1 at 60", "T 4 at 120"},
		},
		{
			"the last", `{"interval":10,"strategy":"LAST"}`,
			[]sent{{0, 0, "1"}, {1, 1, "2"}, {9, 9, "3"}, {10, 10, "4"}},
			[]string{"T 3 at 10", "T 4 at 20"},
		},
		{
			"the last by its time", `{"interval":10,"strategy":"LAST"}`,
			[]sent{{0, 0, "1"}, {1, 5, "2"}, {2, 3, "3"}, {3, 5, "4"}},
			[]string{"T 4 at 10"},
		},
		{
			"the first by its time", `{"interval":10,"strategy":"FIRST"}`,
			[]sent{{0, 3, "1"}, {1, 5, "2"}, {2, 3, "3"}},
			[]string{"T 1 at 13"},
		},
		{
			"what was kept by the device for an hour", `{"interval":60,"strategy":"LAST"}`,
			[]sent{{0, -3600, "1"}, {0, -3580, "2"}, {0, -3530, "3"}, {0, -3500, "4"}, {0, -3400, "5"}, {1, 0, "6"}},
			[]string{"T 2 at 60", "T 4 at 60", "T 5 at 60", "T 6 at 61"},
		},
		{
			"a clock far ahead", `{"interval":60,"strategy":"LAST"}`,
			[]sent{{0, 999_999, "1"}},
			[]string{"T 1 at 60"},
		},
		{
			"all", `{"interval":60,"strategy":"ALL","outMsgType":"BATCH"}`,
			[]sent{{0, 0, `{"a":1}`}, {1, 1, `none`}, {61, 61, `[]`}},
			[]string{
				`BATCH [{"msg":{"a":1},"metadata":{"ts":"1800000000000"}},{"msg":"none","metadata":{"ts":"1800000001000"}}] at 60 ts 1800000060000`,
				`BATCH [{"msg":[],"metadata":{"ts":"1800000061000"}}] at 121 ts 1800000121000`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			n := b.Node(Kind(), c.config)
			begin := b.Services.Now()
			var order []ident.ID
			kept := map[ident.ID]string{}
			for _, s := range c.sent {
				b.Advance(begin.Add(time.Duration(s.after) * time.Second).Sub(b.Services.Now()))
				out := b.Process(n, b.Message("T", s.data, metadataOf(s)))
				if why, failed := out.Failed(); failed {
					t.Fatal(why)
				}
				for _, e := range out.Emitted {
					if e.Relation != rule.Success || e.Place.IsZero() || e.Due.IsZero() {
						t.Fatalf("%+v is not kept", e)
					}
					if kept[e.Place] == "" {
						order = append(order, e.Place)
					} else if e.Yields {
						continue
					}
					text := fmt.Sprintf("%s %s at %v", e.Type, e.Data, e.Due.Sub(begin).Seconds())
					if e.Type == "BATCH" {
						text += " ts " + e.Metadata["ts"]
					}
					kept[e.Place] = text
				}
			}
			var got []string
			for _, place := range order {
				got = append(got, kept[place])
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatComesAgainIsKept: that a message was sent to its place before does not say that it was kept there. When it comes again, as
// it was given back, it is sent again. So is one that does not count: it is done with only if what counts is there.
func TestWhatComesAgainIsKept(t *testing.T) {
	for _, c := range []struct {
		strategy string
		yields   []bool
	}{
		{"FIRST", []bool{true, true, true, true}},
		{"LAST", []bool{false, false, false, true}},
		{"ALL", []bool{false, false, false, false}},
	} {
		b := rulenodetest.New(t)
		n := b.Node(Kind(), `{"interval":60,"strategy":"`+c.strategy+`","outMsgType":"ALL"}`)
		place := ident.ID{}
		for i, of := range []int{0, 0, 9, 5} {
			out := b.Process(n, b.Message("T", `{}`, metadataOf(sent{of: of})))
			if len(out.Emitted) != 1 || out.Emitted[0].Yields != c.yields[i] {
				t.Fatalf("%s: message %d: %+v", c.strategy, i, out)
			}
			if i == 0 {
				place = out.Emitted[0].Place
			}
			if place.IsZero() || out.Emitted[0].Place != place {
				t.Errorf("%s: message %d goes to another place", c.strategy, i)
			}
		}
	}
}

func TestOriginatorsAreApart(t *testing.T) {
	b := rulenodetest.New(t)
	n := b.Node(Kind(), "")
	places := map[ident.ID]bool{}
	for range 3 {
		in := b.Message("T", "{}", nil)
		in.Originator.ID = ident.New()
		for _, e := range b.Process(n, in).Emitted {
			places[e.Place] = true
		}
	}
	if len(places) != 3 {
		t.Errorf("%d of three originators have a message of their own", len(places))
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	b := rulenodetest.New(t)
	large := `"` + strings.Repeat("x", arrayMost/2) + `"`
	for _, c := range []struct {
		config, data string
		fits         int
		why          string
	}{
		{`{"interval":60,"strategy":"FIRST","maxPendingMsgs":3}`, `{}`, 3, errPending.Error()},
		{`{"interval":60,"strategy":"ALL","outMsgType":"B","maxPendingMsgs":2}`, `{}`, 2, errPending.Error()},
		{`{"interval":60,"strategy":"ALL","outMsgType":"B"}`, large, 1, errArray.Error()},
	} {
		n := b.Node(Kind(), c.config)
		for i := range c.fits + 1 {
			why, failed := b.Process(n, b.Message("T", c.data, nil)).Failed()
			if failed != (i == c.fits) || failed && why != c.why {
				t.Errorf("%s: message %d: failed %v, %q", c.config, i, failed, why)
			}
		}
		b.Advance(time.Minute)
		if why, failed := b.Process(n, b.Message("T", c.data, nil)).Failed(); failed {
			t.Errorf("%s: after the interval: %s", c.config, why)
		}
	}
}

func TestOpenIntervalsAreBounded(t *testing.T) {
	b := rulenodetest.New(t)
	n := b.Node(Kind(), "")
	in := b.Message("T", "{}", nil)
	for i := range openMost + 1 {
		in.Originator.ID = ident.New()
		why, failed := b.Process(n, in).Failed()
		if failed != (i == openMost) || failed && why != errOpen.Error() {
			t.Fatalf("originator %d: failed %v, %q", i, failed, why)
		}
	}
	b.Advance(time.Minute)
	if why, failed := b.Process(n, in).Failed(); failed {
		t.Errorf("after the interval: %s", why)
	}
}

func TestWhatOneNodeHoldsIsBounded(t *testing.T) {
	b := rulenodetest.New(t)
	n := b.Node(Kind(), `{"interval":60,"strategy":"ALL","outMsgType":"B"}`)
	large := `"` + strings.Repeat("x", arrayMost-1024) + `"`
	refused := 0
	for range heldMost/arrayMost + 8 {
		in := b.Message("T", large, nil)
		in.Originator.ID = ident.New()
		if why, failed := b.Process(n, in).Failed(); failed {
			refused++
			if why != errHeld.Error() {
				t.Fatal(why)
			}
		}
	}
	if refused == 0 || refused > 8 {
		t.Errorf("%d were refused", refused)
	}
	b.Advance(time.Minute)
	if why, failed := b.Process(n, b.Message("T", large, nil)).Failed(); failed {
		t.Errorf("after the interval: %s", why)
	}
}

func TestConfigurations(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"interval":0,"strategy":"FIRST"}`:                       "interval",
		`{"interval":1,"strategy":"SOME"}`:                        "strategy",
		`{"interval":1,"strategy":"ALL"}`:                         "outMsgType",
		`{"interval":1,"strategy":"LAST","maxPendingMsgs":0}`:     "maxPendingMsgs",
		`{"interval":1,"strategy":"LAST","maxPendingMsgs":10001}`: "maxPendingMsgs",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%s: %v", config, err)
		}
	}
	if upgraded, queue := rulenodetest.Upgrade(t, Kind(), 0, `{"interval":1,"queueName":"HighPriority"}`); upgraded != `{"interval":1}` || queue != "HighPriority" {
		t.Errorf("upgraded to %s with queue %q", upgraded, queue)
	}
}
