package ingest

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// TestPartitionsThatComeTogetherShareACensus: the devices of all are found silent, and gone through once.
func TestPartitionsThatComeTogetherShareACensus(t *testing.T) {
	w := newWorld(t)
	w.bus = newMemoryBus(8)
	var all []entity.Device
	for i := range 600 {
		d := w.device("device " + strconv.Itoa(i))
		d.CreatedTime = time.Now().Add(-time.Hour).UnixMilli()
		w.devices.known[d.ID] = d
		all = append(all, d)
		err := w.store.Write(context.Background(), []storage.Write{{
			Entity: d.ID.Entity(), Scope: storage.Server, Time: 1, Stamp: 1,
			Values: []telemetry.KeyValue{{Key: "active", Value: telemetry.OfBool(true)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.ring = ring.Static(8)
	w.start()
	w.eventually("every device to be found silent", func() bool {
		return !slices.ContainsFunc(all, func(d entity.Device) bool { return w.attributes(d, storage.Server)["active"].Bool() })
	})
	if n := w.counted("core_node_censuses_total", ""); n != 1 {
		t.Errorf("the devices were gone through %v times", n)
	}
}

// TestACensusOutlivesItsConductor: when the partition that conducts is given up, another goes on.
func TestACensusOutlivesItsConductor(t *testing.T) {
	f := newFleet(t)
	d := f.in(1)
	d.CreatedTime = time.Now().Add(-time.Hour).UnixMilli()
	f.world.devices.known[d.ID] = d
	a := f.join("a")
	a.own(0, 1)
	f.eventually("the first partition", func() bool { return a.ingest.Owns(0) })
	a.own(1, 1)
	f.eventually("the second partition", func() bool { return a.ingest.Owns(1) })
	a.lose(0)
	f.eventually("the device to be found silent", func() bool {
		_, found := f.attributes(d, storage.Server)["inactivityAlarmTime"]
		return found
	})
}
