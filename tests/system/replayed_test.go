//go:build fleet

package system

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// offsetsGroup is the group under which core nodes keep their places.
const offsetsGroup = "sluice"

// TestFaultReplayed (F4) has core nodes read a partition again from its first record: the tables are the same
// afterwards. At full length six partitions.
func TestFaultReplayed(t *testing.T) {
	ctx, s := newScene(t, "F4", shared(t), FleetOptions{})
	places := kafkaPlaces{&kafka.Client{Addr: kafka.TCP(s.fleet.Doors().Kafka)}}
	began := places.ends(ctx, t)
	s.rate(ctx, 4*time.Second)
	gap := s.gap()
	s.rest()
	total := s.devices.check(ctx, t, s.tenant)
	s.awaitCaughtUp(ctx, places)
	before := s.tables(ctx)
	if err := s.fleet.each(s.fleet.Core, (*Role).stopClean); err != nil {
		t.Error(err)
	}
	committed := places.committed(ctx, t)
	replayed, records := []int{}, int64(0)
	for p, at := range committed {
		if len(replayed) < often(1, 6) && at.CommittedOffset > began[p] { // one that these devices use
			replayed, records = append(replayed, p), records+at.CommittedOffset
		}
	}
	places.reset(ctx, t, replayed, committed)
	if err := s.fleet.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s.awaitOwners(ctx)
	s.awaitCaughtUp(ctx, places)
	if again := s.taken(ctx); again < float64(records) || records == 0 {
		t.Errorf("%v messages taken on, where %d records were to be read again", again, records)
	}
	after := s.tables(ctx)
	for i, rows := range before {
		if !reflect.DeepEqual(rows, after[i]) {
			t.Errorf("%s: %d rows before the replay, %d after, or others", s.devices.firmware[i].Account.Name, len(rows), len(after[i]))
		}
	}
	t.Logf("%d partitions, %d records read again", len(replayed), records)
	s.add("F4", fmt.Sprintf("%d of %d partitions read again from their first record", len(replayed), partitions), 1, total, gap)
	awaitFates(ctx, t, s.fleet)
}

// tables are the rows of every device.
func (s *scene) tables(ctx context.Context) (all [][]ledger.Row) {
	s.t.Helper()
	for _, id := range s.devices.ids {
		rows, err := s.tenant.Rows(ctx, id, "n")
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, rows)
	}
	return all
}

func (s *scene) awaitCaughtUp(ctx context.Context, places kafkaPlaces) {
	s.t.Helper()
	eventually(ctx, s.t, lasting(time.Minute, 10*time.Minute), func() error {
		ends := places.ends(ctx, s.t)
		for p, at := range places.committed(ctx, s.t) {
			if at.CommittedOffset < ends[p] && ends[p] > 0 {
				return fmt.Errorf("partition %d is committed up to %d of %d", p, at.CommittedOffset, ends[p])
			}
		}
		return nil
	})
}

// kafkaPlaces are the places of core nodes in the partitions of devices' messages, as Kafka keeps them.
type kafkaPlaces struct{ *kafka.Client }

func (k kafkaPlaces) all() (numbers []int) {
	for p := range partitions {
		numbers = append(numbers, p)
	}
	return numbers
}

func (k kafkaPlaces) committed(ctx context.Context, t *testing.T) map[int]kafka.OffsetFetchPartition {
	t.Helper()
	answer, err := k.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: offsetsGroup, Topics: map[string][]int{uplinkTopic: k.all()}})
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]kafka.OffsetFetchPartition{}
	for _, one := range answer.Topics[uplinkTopic] {
		if one.Error != nil {
			t.Fatal(one.Error)
		}
		found[one.Partition] = one
	}
	return found
}

func (k kafkaPlaces) ends(ctx context.Context, t *testing.T) map[int]int64 {
	t.Helper()
	var asked []kafka.OffsetRequest
	for _, p := range k.all() {
		asked = append(asked, kafka.LastOffsetOf(p))
	}
	answer, err := k.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{uplinkTopic: asked}})
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]int64{}
	for _, one := range answer.Topics[uplinkTopic] {
		ends[one.Partition] = one.LastOffset
	}
	return ends
}

// reset puts the places of these partitions to their first record, and looks whether they are there.
func (k kafkaPlaces) reset(ctx context.Context, t *testing.T, numbers []int, had map[int]kafka.OffsetFetchPartition) {
	t.Helper()
	var commits []kafka.OffsetCommit
	for _, p := range numbers {
		commits = append(commits, kafka.OffsetCommit{Partition: p, Offset: 0, Metadata: had[p].Metadata})
	}
	answer, err := k.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: offsetsGroup, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{uplinkTopic: commits},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range answer.Topics[uplinkTopic] {
		if one.Error != nil {
			t.Fatal(one.Error)
		}
	}
	now := k.committed(ctx, t)
	for _, p := range numbers {
		if now[p].CommittedOffset != 0 {
			t.Fatalf("partition %d is still committed up to %d", p, now[p].CommittedOffset)
		}
	}
}
