package live

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// TestPointsBetweenAreTold: a new owner tells of a reading before this node has read those saved while nobody told. They are
// delivered all the same, also when further ones come while they are read.
func TestPointsBetweenAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, e := NewHub(), ident.EntityID{Type: ident.Device, ID: ident.New()}
		reading := func(n int64, between bool) Update {
			return Update{
				Entity: e, Time: n, between: between, Values: []telemetry.KeyValue{{Key: "n", Value: telemetry.OfLong(n)}},
			}
		}
		var told []int64
		defer hub.Watch(e, func(u Update) { told = append(told, u.Time) })()
		for n := int64(1); n <= 60; n++ { // one a second; the owner is lost after the last
			hub.Publish([]Update{reading(n, false)})
			time.Sleep(time.Second)
		}
		hub.Publish([]Update{reading(64, false)}) // by the new owner
		var asked int64
		err := hub.CatchUp(e, func(since int64) ([]Update, error) {
			hub.Publish([]Update{reading(65, false)})
			asked = since
			return []Update{reading(61, true), reading(62, true), reading(63, true), reading(64, false)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if asked >= 61 || asked < 60-2*int64(soundAfter/time.Second) {
			t.Errorf("asked for what is newer than %d", asked)
		}
		for n := int64(1); n <= 65; n++ {
			if !slices.Contains(told, n) {
				t.Errorf("%d was never told", n)
			}
		}
	})
}
