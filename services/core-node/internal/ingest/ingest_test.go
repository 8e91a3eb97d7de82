package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Pebble's cache has a goroutine for the life of the process.
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2/internal/manifest.(*obsoleteVersionsManager).run"))
}

func (w *world) letters() []*sluicepb.DeadLetter {
	w.t.Helper()
	var all []*sluicepb.DeadLetter
	for _, r := range w.bus.of(topics.DeadLetters) {
		l := &sluicepb.DeadLetter{}
		if err := proto.Unmarshal(r.Value, l); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// refusing refuses batches that write key.
func refusing(key string, why error) func([]storage.Write) error {
	return func(batch []storage.Write) error {
		for _, write := range batch {
			if write.Values[0].Key == key {
				return why
			}
		}
		return nil
	}
}

// done waits until records of the rule engine's topic are committed.
func (w *world) done(records int64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d records committed", records), func() bool {
		return w.bus.committed(topics.RuleEngine, 0).offset == records
	})
}

func TestA22_ReadingsAreStoredThenToldThenCommitted(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	var told []live.Update
	defer w.hub.Watch(d.ID.Entity(), func(u live.Update) {
		if u.Scope == storage.Timeseries {
			told = append(told, u)
		}
	})()
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(10)), reading(2, "t", telemetry.OfLong(20))))
	w.start()
	w.done(1)
	want := []storage.Point{{Time: 1, Value: telemetry.OfLong(10)}, {Time: 2, Value: telemetry.OfLong(20)}}
	if diff := cmp.Diff(want, w.points(d, "t"), cmp.AllowUnexported(telemetry.Value{})); diff != "" {
		t.Error(diff)
	}
	w.halt()
	if len(told) != 2 || told[0].Time != 1 || told[1].Time != 2 {
		t.Errorf("watchers were told %+v", told)
	}
	if epoch, stamp := readNote(w.bus.committed(topics.RuleEngine, 0).metadata); epoch != 1 || stamp < time.Now().Add(-time.Minute).UnixMicro() {
		t.Errorf("committed with epoch %d, stamp %d", epoch, stamp)
	}
	w.addsUp()
}

func TestAttributesOfADevice(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	u := w.uplink(d)
	for _, value := range []int64{1, 2, 2, 1} { // A12: what a pack before wrote counts, and what this pack writes
		u.Attributes = []telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(value)}}
		w.send(u)
	}
	w.start()
	w.done(4)
	entries, err := w.store.Attributes(t.Context(), d.ID.Entity(), storage.Client, nil)
	if err != nil || len(entries) != 1 || entries[0].Long() != 1 {
		t.Errorf("client attributes are %v, %v", entries, err)
	}
	w.addsUp()
}

func TestQ13_WhatIsNoUplinkIsADeadLetter(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.publish(bus.Message{Topic: topics.RuleEngine, Key: []byte("k"), Value: []byte{0xff, 0xff}})
	w.publish(bus.Message{Topic: topics.RuleEngine, Key: []byte("k"), Value: nil})
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1))))
	w.start()
	w.done(3)
	letters := w.letters()
	if len(letters) != 2 || letters[0].GetWhere() != "decode" || letters[0].GetOffset() != 0 || letters[0].GetRecordIndex() != -1 || string(letters[0].GetKey()) != "k" {
		t.Errorf("dead letters: %v", letters)
	}
	if len(w.points(d, "t")) != 1 {
		t.Error("the reading behind them is not stored")
	}
	w.addsUp()
	if n := w.counted("core_node_messages_total", fateDeadLettered); n != 2 {
		t.Errorf("%v counted as dead letters", n)
	}
}

func TestTheStoreRefusesTheGuiltyAlone(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.store.failing(refusing("bad", fmt.Errorf("%w: no such key", storage.ErrInvalid)))
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1)), reading(2, "bad", telemetry.OfLong(2)), reading(3, "t", telemetry.OfLong(3))))
	w.start()
	w.done(1)
	if len(w.points(d, "t")) != 2 {
		t.Errorf("stored: %v", w.points(d, "t"))
	}
	letters := w.letters()
	if len(letters) != 1 || letters[0].GetRecordIndex() != 1 || letters[0].GetOriginatorName() != "A" ||
		!strings.Contains(letters[0].GetWhere(), "Save Timeseries") || !strings.Contains(letters[0].GetError(), "no such key") || letters[0].GetAttempts() != 1 {
		t.Fatalf("dead letters: %v", letters)
	}
	w.addsUp()

	// Replayed once the cause is gone, the one message is stored and the others left alone.
	w.store.failing(nil)
	w.publish(bus.Message{
		Topic: topics.RuleEngine, Key: letters[0].GetKey(), Value: letters[0].GetValue(),
		Headers: []bus.Header{{Key: topics.RecordIndexHeader, Value: []byte("1")}},
	})
	w.done(2)
	if len(w.points(d, "bad")) != 1 {
		t.Error("the replayed message is not stored")
	}
	w.addsUp()
}

func TestRetriesComeBeforeTheDeadLetter(t *testing.T) {
	w := newWorld(t)
	w.queues = queue.Standard(2, time.Millisecond)
	d := w.device("A")
	w.store.failing(refusing("bad", storage.ErrInvalid))
	w.send(w.uplink(d, reading(1, "bad", telemetry.OfLong(1))))
	w.send(w.uplink(d, reading(2, "t", telemetry.OfLong(2))))
	w.start()
	w.done(2)
	if letters := w.letters(); len(letters) != 1 || letters[0].GetAttempts() != 3 {
		t.Errorf("dead letters: %v", letters)
	}
	if n := w.counted("core_node_messages_retried_total", ""); n != 2 {
		t.Errorf("%v retries counted", n)
	}
	w.addsUp()
}

func TestOneTenantsFailuresHoldAQuarterOfTheWindow(t *testing.T) {
	w := newWorld(t)
	w.queues = queue.Standard(5, time.Minute)
	w.config.Window, w.config.PackRecords = 8, 4
	w.store.failing(refusing("bad", storage.ErrInvalid))
	for range 4 {
		w.send(w.uplink(w.device("A"), reading(1, "bad", telemetry.OfLong(1))))
	}
	w.start()
	w.eventually("two dead letters", func() bool { return len(w.letters()) == 2 })
	w.halt()
	if n := w.counted("core_node_messages_total", fateGivenBack); n != 2 {
		t.Errorf("%v given back at the stop, want the 2 that wait for a retry", n)
	}
	if w.bus.committed(topics.RuleEngine, 0).offset != 0 {
		t.Error("what waits for a retry was committed")
	}
	w.addsUp()
}

func TestQ4_ThePartitionWaitsForTheStore(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	w.store.failing(func([]storage.Write) error { return fmt.Errorf("%w: away", storage.ErrUnavailable) })
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1))))
	w.start()
	w.eventually("the partition to wait", func() bool { return w.counted("core_node_partitions_waiting", "") == 1 })
	if w.bus.committed(topics.RuleEngine, 0).offset != 0 || len(w.letters()) != 0 {
		t.Error("it went on without the store")
	}
	w.store.failing(nil)
	w.done(1)
	if len(w.points(d, "t")) != 1 || w.counted("core_node_partitions_waiting", "") != 0 {
		t.Error("it did not go on where it was")
	}
	w.addsUp()
}

func TestThePartitionWaitsForTheDeadLettersTopic(t *testing.T) {
	w := newWorld(t)
	left := 3
	w.bus.refuse = func(m bus.Message) error {
		if left--; m.Topic == topics.DeadLetters && left > 0 {
			return bus.ErrUnavailable
		}
		return nil
	}
	w.publish(bus.Message{Topic: topics.RuleEngine, Value: []byte{0xff}})
	w.start()
	w.done(1)
	if len(w.letters()) != 1 {
		t.Errorf("dead letters: %v", w.letters())
	}
	w.addsUp()
}

func TestQ9_AKillRepeatsAndHarmsNothing(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	for n := range int64(100) {
		w.send(w.uplink(d, reading(n, "t", telemetry.OfLong(n))))
	}
	w.start()
	w.done(100)
	w.halt()
	w.bus.commits = map[string]commit{} // as if the kill had come before every commit
	w.start()
	w.done(100)
	if points := w.points(d, "t"); len(points) != 100 || points[99].Value.Long() != 99 {
		t.Errorf("%d points stored", len(points))
	}
	w.addsUp()
}

func TestReadingsOfADeletedDeviceAreRefused(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	delete(w.devices.known, d.ID)
	w.send(w.uplink(d, reading(1, "t", telemetry.OfLong(1))))
	w.start()
	w.done(1)
	if len(w.points(d, "t")) != 0 || w.counted("core_node_messages_total", fateRefused) != 1 {
		t.Error("it was stored, or not counted as refused")
	}
	w.addsUp()
}

func TestAChainNobodyCanCompileIsTheMessagesFault(t *testing.T) {
	w := newWorld(t)
	w.chain = []byte(`{}`)
	w.send(w.uplink(w.device("A"), reading(1, "t", telemetry.OfLong(1))))
	w.start()
	w.done(1)
	// Its telemetry, and the event that it is active.
	if letters := w.letters(); len(letters) != 2 || letters[0].GetWhere() != "rule chain" {
		t.Errorf("dead letters: %v", letters)
	}
	w.addsUp()
}

func TestAStopFinishesWhatIsInHand(t *testing.T) {
	w := newWorld(t)
	d := w.device("A")
	for n := range int64(5000) {
		w.send(w.uplink(d, reading(n, "t", telemetry.OfLong(n))))
	}
	w.start()
	w.eventually("some of them stored", func() bool { return len(w.points(d, "t")) > 0 })
	w.halt()
	committed := w.bus.committed(topics.RuleEngine, 0).offset
	if stored := int64(len(w.points(d, "t"))); stored != committed {
		t.Errorf("%d stored, %d committed", stored, committed)
	}
	w.addsUp()
}

func TestNotes(t *testing.T) {
	epoch, stamp := readNote(note(7, 1_700_000_000_000_000))
	if epoch != 7 || stamp != 1_700_000_000_000_000 {
		t.Errorf("read back as %d, %d", epoch, stamp)
	}
	for _, text := range []string{"", "epoch", "stamp=x epoch=", "something else entirely"} {
		if epoch, stamp := readNote(text); epoch != 0 || stamp != 0 {
			t.Errorf("%q reads as %d, %d", text, epoch, stamp)
		}
	}
}
