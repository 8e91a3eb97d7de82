package delay

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMessagesAreHeldBack(t *testing.T) {
	for _, c := range []struct {
		name, config string
		after        time.Duration
	}{
		{"by default", "", time.Minute},
		{"a period", `{"periodInSeconds":5}`, 5 * time.Second},
		{"of metadata", `{"useMetadataPeriodInSecondsPatterns":true,"periodInSecondsPattern":"${period}"}`, 7 * time.Second},
		{"of the body", `{"useMetadataPeriodInSecondsPatterns":true,"periodInSecondsPattern":"$[p.s]0"}`, 90 * time.Second},
		{"not at all", `{"periodInSeconds":0}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			in := b.Message("T", `{"p":{"s":9}}`, map[string]string{"period": "7"})
			want := rulenodetest.Outcome{Emitted: []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "T", Data: `{"p":{"s":9}}`, Metadata: map[string]string{"period": "7"}, Originator: in.Originator,
				Due: b.Services.Now().Add(c.after),
			}}}
			if diff := cmp.Diff(want, b.Process(b.Node(Kind(), c.config), in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnlySoManyAreHeldBack(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), `{"useMetadataPeriodInSecondsPatterns":true,"periodInSecondsPattern":"${s}","maxPendingMsgs":2}`)
	try := func(period, want string) {
		t.Helper()
		if why, _ := b.Process(node, b.Message("T", `{}`, map[string]string{"s": period})).Failed(); why != want {
			t.Errorf("it failed with %q, want %q", why, want)
		}
	}
	const full = "max limit of pending messages reached"
	try("60", "")
	try("10", "")
	try("5", full)
	b.Advance(9 * time.Second)
	try("5", full)
	b.Advance(time.Second)
	try("100", "")
	try("5", full)
	b.Advance(100 * time.Second)
	try("5", "")
	try("5", "")
	try("5", full)
}

func TestPeriodsThatAreNoneFail(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), `{"useMetadataPeriodInSecondsPatterns":true,"periodInSecondsPattern":"${s}"}`)
	for _, metadata := range []map[string]string{nil, {"s": ""}, {"s": "soon"}, {"s": "-1"}, {"s": "1.5"}, {"s": "9223372036854775807"}} {
		if why, failed := b.Process(node, b.Message("T", `{}`, metadata)).Failed(); !failed || !strings.Contains(why, "periodInSecondsPattern") {
			t.Errorf("%v: failed %v with %q", metadata, failed, why)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for config, field := range map[string]string{
		`{"periodInSeconds":-1}`: "periodInSeconds: ", `{"periodInSeconds":9223372036854775807}`: "periodInSeconds: ",
		`{"maxPendingMsgs":0}`: "maxPendingMsgs: ", `{"maxPendingMsgs":100001}`: "maxPendingMsgs: ",
		`{"useMetadataPeriodInSecondsPatterns":true}`: "periodInSecondsPattern: ",
	} {
		if _, err := rulenodetest.New(t).New(Kind(), config); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v, want an error naming %s", config, err, field)
		}
	}
}
