//go:build fleet

package system

import (
	"testing"
	"time"
)

// TestFaultStopUnderLoad (F25) stops a process of each role in order, again and again.
func TestFaultStopUnderLoad(t *testing.T) {
	ctx, s := newScene(t, "F25", shared(t), FleetOptions{})
	rounds := often(3, 20)
	var longest time.Duration
	for i := range rounds {
		for _, roles := range [...][]*Role{s.fleet.Core, s.fleet.MQTT, s.fleet.HTTP, s.fleet.CoAP} {
			role := roles[i%len(roles)]
			began := time.Now()
			if err := role.stopClean(); err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			if took > stopTime {
				t.Errorf("%s took %s to stop", role.Name, took)
			}
			longest = max(longest, took)
			s.mustStart(ctx, role)
		}
		s.goOn(ctx)
	}
	t.Logf("the longest stop took %s", longest.Round(time.Millisecond))
	s.judge(ctx, "a process of each role stopped (SIGTERM)", rounds)
}
