//go:build fleet

package system

import "testing"

// TestFaultPoison (F8) puts messages that nothing can be done with beside the load's, into every partition: each becomes
// one dead letter, and nothing else does.
func TestFaultPoison(t *testing.T) {
	ctx, s := newScene(t, "F8", shared(t), FleetOptions{})
	tenantID, err := s.tenant.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	box := openLetterbox(ctx, t, s.fleet)
	want := 0
	for range often(1, 3) {
		for partition := range partitions {
			messages, dead := poisons(tenantID, s.devices.ids[0])
			poison(ctx, t, s.fleet.Doors().Kafka, partition, messages...)
			want += dead
		}
		s.goOn(ctx)
		box.await(ctx, t, want)
	}
	s.judge(ctx, "messages that cannot be handled beside the load", want)
	box.await(ctx, t, want)
	t.Logf("%d dead letters, as many as there should be", want)
}
