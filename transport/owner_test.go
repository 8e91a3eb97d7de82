package transport_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const partitions = 3

func owner(t *testing.T, r *transporttest.Rig, partition int) {
	t.Helper()
	err := r.Bus.Announce(&sluicepb.EntityEvent{Owner: &sluicepb.PartitionOwner{
		Partition: int32(partition), Partitions: partitions, Epoch: 2, Node: "core-2",
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// reportedAgain returns how often each device was announced again.
func reportedAgain(t *testing.T, r *transporttest.Rig) map[string]int {
	t.Helper()
	reports, err := r.Bus.Reports()
	if err != nil {
		t.Fatal(err)
	}
	again := map[string]int{}
	for _, m := range reports {
		if m.GetSessionOpened().GetAgain() {
			again[string(m.GetEntity().GetId())]++
		}
	}
	return again
}

// New owners hear within a second of the sessions in their partitions, and of no others.
func TestNewOwnersHearOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		in := map[int][]string{}
		for i := range 100 {
			name := fmt.Sprint("device ", i)
			d := r.Core.AddDevice(name)
			s, _ := open(t, r, authenticate(t, r, token(name)))
			if i == 0 {
				s.Close() // nobody is to hear of it again
				continue
			}
			n := bus.Partition(d.ID.ID[:], partitions)
			in[n] = append(in[n], string(d.ID.ID[:]))
		}
		synctest.Wait() // until events are read
		owner(t, r, 1)
		time.Sleep(300 * time.Millisecond)
		if n := len(reportedAgain(t, r)); n == 0 || n == len(in[1]) {
			t.Errorf("after 300 ms %d of %d sessions are announced: not evenly", n, len(in[1]))
		}
		owner(t, r, 2) // while the first is being told
		time.Sleep(time.Second)
		again := reportedAgain(t, r)
		for n, devices := range in {
			for _, id := range devices {
				if again[id] > 0 != (n != 0) {
					t.Errorf("a session of partition %d is announced %d times", n, again[id])
				}
			}
		}
		if len(again) != len(in[1])+len(in[2]) {
			t.Errorf("%d devices are announced, want %d", len(again), len(in[1])+len(in[2]))
		}
		owner(t, r, -1)
		owner(t, r, partitions)
		time.Sleep(time.Second)
	})
}

// A partition's owner is news of no device: nothing is read again for it.
func TestAnOwnerIsNoChangeOfADevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("T")
		_, in := open(t, r, authenticate(t, r, token("T")))
		synctest.Wait()
		owner(t, r, 0)
		time.Sleep(2 * time.Second)
		in.expectClosed(t)
	})
}
