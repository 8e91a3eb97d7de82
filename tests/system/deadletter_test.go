package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

var errStillReady = errors.New("the process says that it is ready")

// partitions is the standard number of each owned topic's.
const partitions = 2

// poison writes messages to a partition that no rule chain can do anything with.
func poison(ctx context.Context, t *testing.T, broker string, partition int, messages ...kafka.Message) {
	t.Helper()
	conn, err := kafka.DialLeader(ctx, "tcp", broker, uplinkTopic, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.WriteMessages(messages...); err != nil {
		t.Fatal(err)
	}
}

// poisons is one of each kind, and how many of them become dead letters; the last is of a device
// there is not, which is refused.
func poisons(tenant, device string) (messages []kafka.Message, dead int) {
	whole := encodeUplink(tenant, device, "n", 1)
	rule := []kafka.Header{{Key: "kind", Value: []byte("rule")}}
	return []kafka.Message{
		{Value: []byte("\xff\xff\xff\xff no protobuf")},
		{Value: whole[:len(whole)-3]},
		{Value: encodeUplink(tenant, "", "n", 1)},
		{Value: []byte("\x0a\xff no rule message"), Headers: rule},
		{Value: encodeUplink(tenant, device, strings.Repeat("k", 2000), 1)}, // a key the store does not take
		{Value: encodeUplink(tenant, "11111111-2222-4333-8444-555555555555", "n", 1)},
	}, 5
}

// TestDeadLetters puts poison among honest devices' messages: the neighbours are stored, and an
// operator sees, replays and discards what could not be handled, also after a kill.
func TestDeadLetters(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	broker := freePort(t, "tcp")
	process := NewStandalone(t, "--broker-listen="+broker)
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, process)
	tenantID, err := tenant.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fleet := newFleet(ctx, t, process, tenant, 12)
	stop := fleet.run(ctx, t)
	fleet.awaitAcknowledged(ctx, t, 50)
	want := 0
	for partition := range partitions {
		messages, dead := poisons(tenantID, fleet.ids[0])
		poison(ctx, t, broker, partition, messages...)
		want += dead
	}
	fleet.awaitAcknowledged(ctx, t, fleet.acknowledged()+50)
	letters := awaitLetters(ctx, t, process, want)
	awaitFates(ctx, t, process)

	first, second := letters[0].ID, letters[1].ID
	if shown, err := process.Operate(ctx, "dead-letters", "show", first); err != nil || !strings.Contains(shown, first) {
		t.Errorf("show printed %q: %v", shown, err)
	}
	if out, err := process.Operate(ctx, "dead-letters", "discard", first); err != nil {
		t.Error(out, err)
	}
	if out, err := process.Operate(ctx, "dead-letters", "discard", first); err == nil {
		t.Errorf("a letter was discarded twice: %q", out)
	}
	if out, err := process.Operate(ctx, "dead-letters", "replay", second); err != nil { // it fails again, as a new letter
		t.Error(out, err)
	}
	eventually(ctx, t, 5*time.Second, func() error {
		return lettersAre(ctx, process, want-1, func(l []deadLetter) bool {
			return !slices.ContainsFunc(l, func(one deadLetter) bool { return one.ID == first || one.ID == second })
		})
	})
	awaitFates(ctx, t, process)

	process.Kill()
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	awaitLetters(ctx, t, process, want-1)
	fleet.awaitAcknowledged(ctx, t, fleet.acknowledged()+50)
	stop()
	total := fleet.check(ctx, t, tenant)
	awaitFates(ctx, t, process)
	t.Logf("acknowledged %d, lost %d, dead letters %d", total.Acknowledged, len(total.Lost), want)
}

// TestReplayAfterRepair is the case replay is there for: a setting too tight makes dead letters of
// honest readings, the operator repairs it, and the replayed reading is stored with the time it had.
func TestReplayAfterRepair(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	process := NewStandalone(t, "--core-node-executions=1")
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, process)
	fleet := newFleet(ctx, t, process, tenant, 1) // on MQTT, with times of its own
	device := fleet.firmware[0]
	device.pending = append(device.pending, device.Account.Next())
	if err := device.once(ctx); err != nil {
		t.Fatal(err)
	}
	device.link.close()
	eventually(ctx, t, 10*time.Second, func() error {
		return lettersAre(ctx, process, 1, func(l []deadLetter) bool { return l[0].OriginatorName == device.Account.Name })
	})
	process.Signal(syscall.SIGTERM)
	if code := process.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	process.args = nil
	if err := process.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if rows, err := tenant.Rows(ctx, fleet.ids[0], "n"); err != nil || len(rows) != 0 {
		t.Fatalf("stored before the replay: %v, %v", rows, err)
	}
	letter := awaitLetters(ctx, t, process, 1)[0]
	if out, err := process.Operate(ctx, "dead-letters", "replay", letter.ID); err != nil {
		t.Fatal(out, err)
	}
	fleet.check(ctx, t, tenant)
	awaitLetters(ctx, t, process, 0)
	awaitFates(ctx, t, process)
}

// deadLetter is one as `sluice dead-letters list --json` tells of it.
type deadLetter struct {
	ID, OriginatorName, Error, Where string
}

func lettersAre(ctx context.Context, process *Standalone, want int, also func([]deadLetter) bool) error {
	out, err := process.Operate(ctx, "dead-letters", "list", "--json")
	if err != nil {
		return err
	}
	var letters []deadLetter
	if err := json.Unmarshal([]byte(out), &letters); err != nil {
		return err
	}
	if len(letters) != want || !also(letters) {
		return fmt.Errorf("%d dead letters, want %d: %+v", len(letters), want, letters)
	}
	return nil
}

// awaitLetters waits until want letters are listed, and returns them.
func awaitLetters(ctx context.Context, t *testing.T, process *Standalone, want int) (letters []deadLetter) {
	t.Helper()
	eventually(ctx, t, 10*time.Second, func() error {
		return lettersAre(ctx, process, want, func(l []deadLetter) bool { letters = l; return true })
	})
	return letters
}

// awaitFates holds the process to its account: taken = processed + dead-lettered + refused + given
// back + in hand.
func awaitFates(ctx context.Context, t *testing.T, process *Standalone) {
	t.Helper()
	eventually(ctx, t, 10*time.Second, func() error {
		m, err := process.Metrics(ctx)
		if err != nil {
			return err
		}
		sum := m["core_node_messages_in_hand"]
		for _, fate := range []string{"processed", "dead_lettered", "refused", "given_back"} {
			sum += m[`core_node_messages_total{fate="`+fate+`"}`]
		}
		if taken := m["core_node_messages_taken_total"]; taken == 0 || taken != sum {
			return fmt.Errorf("%v messages taken on, %v accounted for", taken, sum)
		}
		return nil
	})
}
