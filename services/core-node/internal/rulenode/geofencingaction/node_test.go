package geofencingaction

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const fence = `"latitudeKeyName":"lat","longitudeKeyName":"lon","perimeterType":"POLYGON","polygonsDefinition":"[[0,0],[0,10],[10,10],[10,0]]",` +
	`"minInsideDuration":10,"minInsideDurationTimeUnit":"SECONDS","minOutsideDuration":1,"minOutsideDurationTimeUnit":"MINUTES"`

const (
	within  = `{"lat":5,"lon":5}`
	without = `{"lat":50,"lon":5}`
)

// feed handles a message, stores what it saves, and returns the relation it took.
func feed(t *testing.T, b *rulenodetest.Bench, node rule.Node, id byte, at time.Duration, data string) rule.Relation {
	t.Helper()
	in, turn := b.Message("X", data, nil), &rule.Turn{}
	in.ID[15], in.Time = id, at.Milliseconds()
	if err := node.Process(t.Context(), in, turn); err != nil {
		t.Fatal(err)
	}
	for _, s := range turn.Saves() {
		s.Stamp = int64(id)*1000 + 1
		if s.Scope != storage.Server || s.Values[0].Key != "geofencing_"+b.Services.Node.String() {
			t.Errorf("it saves %+v", s)
		}
		if err := b.Store.Write(t.Context(), []storage.Write{s.Write}); err != nil {
			t.Fatal(err)
		}
	}
	out := turn.Emissions()
	if len(out) != 1 || out[0].Message != in {
		t.Fatalf("%+v", out)
	}
	return out[0].Relation
}

func TestWaysOfAPosition(t *testing.T) {
	for _, each := range []string{"true", "false"} {
		b := rulenodetest.New(t)
		b.Platform()
		for i, c := range []struct {
			id          byte
			at          time.Duration
			data        string
			want, quiet rule.Relation
		}{
			{1, 0, without, "Left", "Left"},
			{2, 60 * time.Second, without, "Outside", "Success"},
			{3, 61 * time.Second, without, "Outside", "Outside"},
			{3, 61 * time.Second, without, "Outside", "Outside"}, // handled again
			{4, 62 * time.Second, within, "Entered", "Entered"},
			{4, 62 * time.Second, within, "Entered", "Entered"},
			{5, 70 * time.Second, within, "Inside", "Success"},
			{6, 73 * time.Second, within, "Inside", "Inside"},
			{7, 74 * time.Second, within, "Inside", "Success"},
			{8, 75 * time.Second, without, "Left", "Left"},
		} {
			want := c.want
			if each == "false" {
				want = c.quiet
			}
			// A node of its own each time, as on another core node.
			node := b.Node(Kind(), `{`+fence+`,"reportPresenceStatusOnEachMessage":`+each+`}`)
			if got := feed(t, b, node, c.id, c.at, c.data); got != want {
				t.Errorf("%s, step %d: %s, want %s", each, i, got, want)
			}
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{}`: "latitudeKeyName",
		`{"latitudeKeyName":"a","longitudeKeyName":"b","perimeterType":"POLYGON","fetchPerimeterInfoFromMessageMetadata":true}`:                                                                                                "minInsideDurationTimeUnit",
		`{"latitudeKeyName":"a","longitudeKeyName":"b","perimeterType":"POLYGON","fetchPerimeterInfoFromMessageMetadata":true,"minInsideDurationTimeUnit":"DAYS","minOutsideDuration":-1,"minOutsideDurationTimeUnit":"DAYS"}`: "minOutsideDuration",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{}`, `{"reportPresenceStatusOnEachMessage":false}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
