//go:build fleet

package system

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

const (
	sceneDevices = 60
	scenePause   = 100 * time.Millisecond // between a device's readings
	takeOver     = 15 * time.Second       // longest until all partitions have an owner; a little more than the session's time is usual
)

// scene is a fleet under the load of devices of all three protocols, to which a fault is done.
type scene struct {
	t       *testing.T
	fleet   *Fleet
	tenant  *Tenant
	devices *devices
	// rest ends the load, having everything acknowledged that was sent; load begins it again.
	rest func()
	gap  func() time.Duration
	id   string
}

// newScene starts a fleet and its load for the fault with this id. Context and fleet end with the test.
func newScene(t *testing.T, id string, parts *Parts, o FleetOptions) (context.Context, *scene) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	s := &scene{t: t, id: id, fleet: NewFleet(ctx, t, parts, o)}
	t.Cleanup(s.mend)
	began := time.Now()
	if err := s.fleet.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s.awaitOwners(ctx)
	s.tenant = firstTenant(ctx, t, s.fleet)
	s.devices = newDevices(ctx, t, s.fleet.Doors(), s.tenant, sceneDevices)
	for _, device := range s.devices.firmware {
		device.Pause = scenePause
	}
	s.load(ctx)
	s.goOn(ctx)
	t.Logf("under load after %s", time.Since(began).Round(10*time.Millisecond))
	s.gap = s.devices.watchGap(ctx)
	return ctx, s
}

// mend has every part run again that a scenario left harmed because it failed.
func (s *scene) mend() {
	for _, one := range s.fleet.Parts.all() {
		for _, process := range one.Processes() {
			err := process.Continue()
			if !process.Running() {
				err = process.Start(context.Background()) // the test's own context has ended
			}
			if err != nil {
				s.t.Error(err)
			}
		}
	}
}

// often is how many times a fault is done: short, or at full length.
func often(short, long int) int {
	if full() {
		return long
	}
	return short
}

// lasting is how long a fault lasts: short, or at full length.
func lasting(short, long time.Duration) time.Duration {
	if full() {
		return long
	}
	return short
}

func (s *scene) load(ctx context.Context) { s.rest = s.devices.run(ctx, s.t) }

// goOn waits until there are as many new acknowledgements as two of each device.
func (s *scene) goOn(ctx context.Context) {
	s.t.Helper()
	s.devices.awaitAcknowledged(ctx, s.t, s.devices.acknowledged()+2*len(s.devices.firmware))
}

// owned is how many partitions each of the core nodes that run says it owns.
func (s *scene) owned(ctx context.Context) (each map[*Role]int, sum int) {
	each = map[*Role]int{}
	for _, node := range s.fleet.Core {
		if !node.Running() {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, time.Second) // one may be paused
		if m, err := node.Metrics(asked); err == nil {
			each[node] = int(m["core_node_ring_partitions"])
			sum += each[node]
		}
		cancel()
	}
	return each, sum
}

// awaitOwners waits until the core nodes but for these own all partitions.
func (s *scene) awaitOwners(ctx context.Context, but ...*Role) {
	s.t.Helper()
	eventually(ctx, s.t, takeOver, func() error {
		each, sum := s.owned(ctx)
		for _, node := range but {
			sum -= each[node]
		}
		if sum != partitions {
			return fmt.Errorf("%d of %d partitions have an owner: %v", sum, partitions, s.shares(each))
		}
		return nil
	})
}

func (s *scene) shares(each map[*Role]int) (named []string) {
	for node, n := range each {
		named = append(named, fmt.Sprintf("%s: %d", node.Name, n))
	}
	slices.Sort(named)
	return named
}

// mustStart starts a process again and waits until it serves.
func (s *scene) mustStart(ctx context.Context, role *Role) {
	s.t.Helper()
	if err := role.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// judge ends the load, holds the ledger against what is stored, and adds the fault's row.
func (s *scene) judge(ctx context.Context, what string, times int) {
	s.t.Helper()
	s.goOn(ctx)
	gap := s.gap()
	s.rest()
	s.add(s.id, what, times, s.devices.check(ctx, s.t, s.tenant), gap)
	awaitFates(ctx, s.t, s.fleet)
}

// add adds a row; what is wrong in it the ledger has said already.
func (s *scene) add(id, what string, times int, v ledger.Verdict, gap time.Duration) {
	if v.Acknowledged == 0 {
		s.t.Error("nothing was acknowledged: the scenario has shown nothing")
	}
	theFaults.Add(faultOf(id, what, times, v, gap))
	s.t.Logf("%s ×%d: sent %d, acknowledged %d, stored %d, lost %d, duplicates %d, sent again %d, gap %s",
		what, times, v.Sent, v.Acknowledged, v.Stored, len(v.Lost), v.Duplicates, v.Resent, gap.Round(time.Millisecond))
}

// awaitShare waits until a node has partitions again.
func (s *scene) awaitShare(ctx context.Context, node *Role) {
	s.t.Helper()
	eventually(ctx, s.t, takeOver, func() error {
		if each, sum := s.owned(ctx); each[node] == 0 || sum != partitions {
			return fmt.Errorf("%s owns nothing yet: %v", node.Name, s.shares(each))
		}
		return nil
	})
}
