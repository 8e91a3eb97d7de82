package deviceprofile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const (
	stored     = `{"persistAlarmRulesState":true,"fetchAlarmRulesStateOnStart":true}`
	inMemory   = ``
	threeTimes = `[{"id":"1","alarmType":"Often","createRules":{"MAJOR":%s},"clearRule":%s}]`
)

// life is a node with what the platform keeps for it: what it saved, and its messages for later.
type life struct {
	*rulenodetest.Bench
	t      *testing.T
	config string
	node   rule.Node
	stamp  int64
	torn   bool // what is saved is lost
	later  map[ident.ID]kept
	began  time.Time
}

type kept struct {
	at time.Time
	m  *rule.Message
}

func live(t *testing.T, config, alarms string) *life {
	t.Helper()
	b, _ := bench(t, alarms)
	l := &life{Bench: b, t: t, config: config, later: map[ident.ID]kept{}, began: b.Services.Now()}
	l.restart()
	return l
}

// restart has another process go on.
func (l *life) restart() { l.node = l.Node(Kind(), l.config) }

// process returns the alarms' relations that in led to, with their severities.
func (l *life) process(in *rule.Message) string {
	l.t.Helper()
	turn := &rule.Turn{}
	if err := l.node.Process(l.t.Context(), in, turn); err != nil {
		l.t.Fatal(err)
	}
	for _, s := range turn.Saves() {
		if l.torn {
			break
		}
		l.stamp++
		s.Stamp = l.stamp
		if err := l.Store.Write(l.t.Context(), []storage.Write{s.Write}); err != nil {
			l.t.Fatal(err)
		}
	}
	var took []string
	for _, e := range turn.Emissions() {
		if at, ok := e.Due(); ok {
			place, _ := e.Place()
			if before, there := l.later[place]; !there || at.Before(before.at) {
				l.later[place] = kept{at, e.Message}
			}
			continue
		}
		if e.Relation == rule.Success {
			continue
		}
		var a struct{ Severity string }
		if err := json.Unmarshal([]byte(e.Message.Body.Text()), &a); err != nil {
			l.t.Fatal(err)
		}
		took = append(took, string(e.Relation)+" "+a.Severity)
	}
	return strings.Join(took, ",")
}

// message is the n-th record of the main queue.
func (l *life) message(n int, data string) *rule.Message {
	in := l.Message(uplink, data, nil)
	copy(in.ID[:8], l.Device.ID[8:])
	in.ID[15], in.Record, in.ReceivedAt = byte(n), int64(n), l.Services.Now().UnixMicro()
	return in
}

// until lets time pass, and rings what is due meanwhile, each with its second.
func (l *life) until(second float64) (rang []string) {
	l.t.Helper()
	end := l.began.Add(time.Duration(second * float64(time.Second)))
	for {
		var next *kept
		var place ident.ID
		for p, one := range l.later {
			if next == nil || one.at.Before(next.at) {
				next, place = &one, p
			}
		}
		if next == nil || next.at.After(end) {
			break
		}
		delete(l.later, place)
		l.Advance(max(next.at.Sub(l.Services.Now()), 0))
		if took := l.process(next.m); took != "" {
			rang = append(rang, fmt.Sprintf("%s at %.0f", took, l.Services.Now().Sub(l.began).Seconds()))
		}
	}
	l.Advance(max(end.Sub(l.Services.Now()), 0))
	return rang
}

func counting() string {
	return fmt.Sprintf(threeTimes,
		condition(`{"type":"REPEATING","predicate":{"defaultValue":3}}`, numeric("t", "EQUAL", `{"defaultValue":1}`)),
		condition(`{"type":"REPEATING","predicate":{"defaultValue":2}}`, numeric("t", "EQUAL", `{"defaultValue":2}`)))
}

func TestCountsOutliveTheProcess(t *testing.T) {
	for config, want := range map[string]string{stored: "Alarm Created MAJOR", inMemory: ""} {
		l := live(t, config, counting())
		for n := 1; n <= 3; n++ {
			want := want
			if n < 3 {
				want = ""
			}
			if got := l.process(l.message(n, `{"t":1}`)); got != want {
				t.Errorf("%q: message %d: %q, want %q", config, n, got, want)
			}
			l.restart()
		}
	}
}

// TestNothingIsCountedTwice has the process end after each message of a series, and go on with each one before that: what
// is new leads to what it would have led to.
func TestNothingIsCountedTwice(t *testing.T) {
	series := []int{1, 1, 0, 1, 1, 1, 1, 2, 1, 2, 2, 1, 1, 1}
	send := func(l *life, n int) string {
		l.Advance(time.Millisecond)
		in := l.message(n+1, fmt.Sprintf(`{"t":%d}`, series[n]))
		in.Time, in.ReceivedAt = rulenodetest.NowMillis+int64(n), rulenodetest.NowMillis*1000+int64(n) // however often it comes
		return l.process(in)
	}
	whole := live(t, stored, counting())
	var want []string
	for n := range series {
		want = append(want, send(whole, n))
	}
	if got := strings.Join(want, ";"); got != ";;;;;Alarm Created MAJOR;Alarm Updated MAJOR;;;;Alarm Cleared MAJOR;;;Alarm Created MAJOR" {
		t.Fatalf("the series leads to %s", got)
	}
	l := live(t, stored, counting())
	for ended := range series {
		for _, committed := range slices.Compact([]int{0, ended / 2, ended}) {
			for _, torn := range []bool{false, true} { // it ends before the state of rules is stored, or after
				l.Device = ident.DeviceID{ID: l.NewDevice(fmt.Sprint(ended, committed, torn), "default").ID}
				for n := range ended + 1 {
					l.torn = torn && n == ended
					send(l, n)
				}
				l.torn = false
				l.restart()
				for n := committed; n < len(series); n++ {
					if got := send(l, n); got != want[n] && n >= ended {
						t.Errorf("ended after %d (torn: %v), went on with %d: message %d: %q, want %q", ended, torn, committed, n, got, want[n])
					}
				}
			}
		}
	}
}

// TestTheReadingsOfOneRecordCountEach, and once when it is there again.
func TestTheReadingsOfOneRecordCountEach(t *testing.T) {
	l := live(t, stored, counting())
	for again := range 2 {
		for index := range 3 {
			in := l.message(1, `{"t":1}`)
			in.Index = index
			want := ""
			if index == 2 {
				want = "Alarm Created MAJOR"
			}
			if got := l.process(in); got != want {
				t.Errorf("time %d: reading %d: %q, want %q", again, index, got, want)
			}
		}
		l.restart()
	}
}

// TestQueuesCountByThemselves, and one that was made anew does so from its beginning.
func TestQueuesCountByThemselves(t *testing.T) {
	l := live(t, stored, counting())
	for i, c := range []struct {
		queue  string
		record int
		want   string
	}{{"", 900, ""}, {"HighPriority", 7, ""}, {"", 1, "Alarm Created MAJOR"}, {"HighPriority", 7, "Alarm Updated MAJOR"}} {
		l.Advance(time.Second)
		in := l.message(c.record, `{"t":1}`)
		in.ID[14], in.Queue = byte(i), c.queue
		if got := l.process(in); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
		l.restart()
	}
}

func measuring(more string) string {
	return `[{"id":"1","alarmType":"Long","createRules":{
		"MAJOR":` + condition(`{"type":"DURATION","unit":"SECONDS","predicate":{"defaultValue":10}}`, numeric("t", "GREATER", `{"defaultValue":50}`)) + more + `},
		"clearRule":` + condition(`{"type":"DURATION","unit":"SECONDS","predicate":{"defaultValue":20}}`, numeric("t", "LESS", `{"defaultValue":10}`)) + `}]`
}

// TestTimeIsOverWithoutAMessage: a rule has held long enough when it has, whether a message comes or not.
func TestTimeIsOverWithoutAMessage(t *testing.T) {
	critical := `,"CRITICAL":` + condition(`{"type":"DURATION","unit":"SECONDS","predicate":{"defaultValue":5}}`, numeric("t", "GREATER", `{"defaultValue":90}`))
	worse := `,"CRITICAL":` + condition(`{"type":"DURATION","unit":"SECONDS","predicate":{"defaultValue":30}}`, numeric("t", "GREATER", `{"defaultValue":90}`))
	for _, c := range []struct {
		name, config, more string
		sent               map[float64]int // by the second; -1: another process goes on
		want               []string
	}{
		{"one message", inMemory, "", map[float64]int{0: 60}, []string{"Alarm Created MAJOR at 10"}},
		{"and some that say the same", inMemory, "", map[float64]int{0: 60, 3: 70, 9: 80}, []string{"Alarm Created MAJOR at 10"}},
		{"it ends before", inMemory, "", map[float64]int{0: 60, 9: 20}, nil},
		{"and begins again", inMemory, "", map[float64]int{0: 60, 3: 20, 6: 60}, []string{"Alarm Created MAJOR at 16"}},
		{"and is cleared likewise", inMemory, "", map[float64]int{0: 60, 15: 5}, []string{"Alarm Created MAJOR at 10", "Alarm Cleared MAJOR at 35"}},
		{"the shorter first", inMemory, critical, map[float64]int{0: 60, 1: 95}, []string{"Alarm Created CRITICAL at 6"}},
		{"then the longer", inMemory, worse, map[float64]int{0: 95}, []string{"Alarm Created MAJOR at 10", "Alarm Severity Updated CRITICAL at 30"}},
		{"another process", stored, "", map[float64]int{0: 60, 3: -1}, []string{"Alarm Created MAJOR at 10"}},
		{"and what ended there", stored, "", map[float64]int{0: 60, 3: -1, 5: 20, 7: -1}, nil},
		{"another process that does not know", inMemory, "", map[float64]int{0: 60, 3: -1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := live(t, c.config, measuring(c.more))
			var seconds []float64
			for s := range c.sent {
				seconds = append(seconds, s)
			}
			slices.Sort(seconds)
			var got []string
			for n, s := range seconds {
				got = append(got, l.until(s)...)
				if c.sent[s] < 0 {
					l.restart()
				} else if took := l.process(l.message(n+1, fmt.Sprintf(`{"t":%d}`, c.sent[s]))); took != "" {
					t.Errorf("at %v: %s", s, took)
				}
				if len(l.later) > 1 {
					t.Errorf("%d timers for one device", len(l.later))
				}
			}
			got = append(got, l.until(120)...)
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if len(l.later) > 0 {
				t.Errorf("%d timers are left", len(l.later))
			}
		})
	}
}

// TestATimeThatComesLateLetsMessagesGoFirst: those that came while nobody had the partition.
func TestATimeThatComesLateLetsMessagesGoFirst(t *testing.T) {
	for data, want := range map[string][]string{`{"t":20}`: nil, `{"t":60}`: {"Alarm Created MAJOR at 65"}} {
		l := live(t, stored, measuring(""))
		l.process(l.message(1, `{"t":60}`))
		l.restart()
		l.Advance(time.Minute)
		got := l.until(60)
		if second := l.process(l.message(2, data)); second != "" && data == `{"t":20}` {
			t.Errorf("%s: %s", data, second)
		} else if second != "" {
			got = append(got, "Alarm Created MAJOR at 65") // by the message, which says that it holds
		}
		if len(got) == 0 {
			got = l.until(120)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
}

// TestTheSameTimeTwice: it comes again over a kill, and makes no second alarm.
func TestTheSameTimeTwice(t *testing.T) {
	l := live(t, stored, measuring(""))
	in := l.message(1, `{"t":60}`)
	in.Metadata = in.Metadata.With("deviceName", "Device")
	l.process(in)
	var due kept
	for _, due = range l.later {
	}
	l.Advance(10*time.Second + time.Millisecond)
	for range 2 {
		if got := l.process(due.m); got != "Alarm Created MAJOR" {
			t.Errorf("%q", got)
		}
		l.restart()
	}
	if name, _ := due.m.Metadata.Get("deviceName"); name != "Device" || due.m.Timestamp() != l.began.UnixMilli()+10_001 {
		t.Errorf("its metadata is %v", due.m.Metadata.All())
	}
	l.Advance(time.Second)
	if got := l.process(l.message(2, `{"t":61}`)); got != "Alarm Updated MAJOR" {
		t.Errorf("then %q", got)
	}
}

// TestASlowBacklogIsNoSilence: between messages that wait to be handled time passes as they say.
func TestASlowBacklogIsNoSilence(t *testing.T) {
	l := live(t, inMemory, measuring(""))
	for n, at := range []int64{0, 1, 2} {
		in := l.message(n+1, `{"t":60}`)
		in.Time = l.began.UnixMilli() + at*1000 - 3_600_000
		if got := l.process(in); got != "" {
			t.Errorf("message %d: %q", n, got)
		}
		if rang := l.until(float64(n+1) * 8); rang != nil {
			t.Errorf("after message %d: %q", n, rang)
		}
	}
	if got := l.until(60); !slices.Equal(got, []string{"Alarm Created MAJOR at 24"}) {
		t.Errorf("%q", got)
	}
}

func TestADeviceThatIsGoneHasNoTime(t *testing.T) {
	l := live(t, inMemory, measuring(""))
	l.process(l.message(1, `{"t":60}`))
	if err := l.Services.Entities.Devices.Delete(t.Context(), l.Services.Tenant, l.Device); err != nil {
		t.Fatal(err)
	}
	if rang := l.until(60); rang != nil {
		t.Errorf("%q", rang)
	}
}

// TestASchedulesEndEndsTheTime: a rule that holds until it counts no more has not held long enough.
func TestASchedulesEndEndsTheTime(t *testing.T) {
	now := time.UnixMilli(rulenodetest.NowMillis).UTC() // it is 8 o'clock
	ends := (time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute + 5*time.Second).Milliseconds()
	rule := fmt.Sprintf(`[{"id":"1","alarmType":"T","createRules":{"MAJOR":{"condition":{"condition":[%s],"spec":{"type":"DURATION","unit":"SECONDS","predicate":{"defaultValue":%%d}}},
		"schedule":{"type":"SPECIFIC_TIME","timezone":"UTC","startsOn":0,"endsOn":%d}}}}]`, numeric("t", "EQUAL", `{"defaultValue":1}`), ends)
	for seconds, want := range map[int]int{3: 1, 10: 0} {
		l := live(t, inMemory, fmt.Sprintf(rule, seconds))
		l.process(l.message(1, `{"t":1}`))
		if rang := l.until(60); len(rang) != want {
			t.Errorf("%d s: %q", seconds, rang)
		}
	}
}
