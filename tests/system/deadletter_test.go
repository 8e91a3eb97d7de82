package system

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

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
	platform := newPlatform(ctx, t)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	box := openLetterbox(ctx, t, platform)
	tenant := firstTenant(ctx, t, platform)
	tenantID, err := tenant.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	devices := newDevices(ctx, t, platform.Doors(), tenant, 12)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 50)
	want := 0
	for partition := range partitions {
		messages, dead := poisons(tenantID, devices.ids[0])
		poison(ctx, t, platform.Doors().Kafka, partition, messages...)
		want += dead
	}
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+50)
	letters := box.await(ctx, t, want)
	awaitFates(ctx, t, platform)

	first, second := letters[0].ID, letters[1].ID
	if shown, err := platform.Operate(ctx, "dead-letters", "show", first); err != nil || !strings.Contains(shown, first) {
		t.Errorf("show printed %q: %v", shown, err)
	}
	if out, err := platform.Operate(ctx, "dead-letters", "discard", first); err != nil {
		t.Error(out, err)
	}
	if out, err := platform.Operate(ctx, "dead-letters", "discard", first); err == nil {
		t.Errorf("a letter was discarded twice: %q", out)
	}
	if out, err := platform.Operate(ctx, "dead-letters", "replay", second); err != nil { // it fails again, as a new letter
		t.Error(out, err)
	}
	eventually(ctx, t, 5*time.Second, func() error {
		return box.holds(ctx, want-1, func(l []deadLetter) bool {
			return !slices.ContainsFunc(l, func(one deadLetter) bool { return one.ID == first || one.ID == second })
		})
	})
	awaitFates(ctx, t, platform)

	platform.Kill()
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	box.await(ctx, t, want-1)
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+50)
	stop()
	total := devices.check(ctx, t, tenant)
	awaitFates(ctx, t, platform)
	t.Logf("acknowledged %d, lost %d, dead letters %d", total.Acknowledged, len(total.Lost), want)
}

// TestReplayAfterRepair is the case replay is there for: a setting too tight makes dead letters of
// honest readings, the operator repairs it, and the replayed reading is stored with the time it had.
func TestReplayAfterRepair(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	platform := newPlatform(ctx, t, "--core-node-executions=1")
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	box := openLetterbox(ctx, t, platform)
	tenant := firstTenant(ctx, t, platform)
	devices := newDevices(ctx, t, platform.Doors(), tenant, 1) // on MQTT, with times of its own
	device := devices.firmware[0]
	device.pending = append(device.pending, device.Account.Next())
	if err := device.once(ctx); err != nil {
		t.Fatal(err)
	}
	device.link.close()
	eventually(ctx, t, 10*time.Second, func() error {
		return box.holds(ctx, 1, func(l []deadLetter) bool { return l[0].OriginatorName == device.Account.Name })
	})
	if err := platform.Stop(); err != nil {
		t.Error(err)
	}
	platform.Set()
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if rows, err := tenant.Rows(ctx, devices.ids[0], "n"); err != nil || len(rows) != 0 {
		t.Fatalf("stored before the replay: %v, %v", rows, err)
	}
	letter := box.await(ctx, t, 1)[0]
	if out, err := platform.Operate(ctx, "dead-letters", "replay", letter.ID); err != nil {
		t.Fatal(out, err)
	}
	devices.check(ctx, t, tenant)
	box.await(ctx, t, 0)
	awaitFates(ctx, t, platform)
}

// deadLetter is one as `sluice dead-letters list --json` tells of it.
type deadLetter struct {
	ID, OriginatorName, Error, Where string
}

// letterbox is the dead letters of a platform but for those there were when it was opened: other scenarios left them.
type letterbox struct {
	platform Platform
	before   map[string]bool
}

func openLetterbox(ctx context.Context, t *testing.T, platform Platform) *letterbox {
	t.Helper()
	b := &letterbox{platform: platform}
	letters, err := b.list(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.before = map[string]bool{}
	for _, l := range letters {
		b.before[l.ID] = true
	}
	return b
}

func (b *letterbox) list(ctx context.Context) (letters []deadLetter, err error) {
	out, err := b.platform.Operate(ctx, "dead-letters", "list", "--json")
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal([]byte(out), &letters)
	return slices.DeleteFunc(letters, func(l deadLetter) bool { return b.before[l.ID] }), err
}

// holds returns nil when it holds want letters, about which also is content.
func (b *letterbox) holds(ctx context.Context, want int, also func([]deadLetter) bool) error {
	letters, err := b.list(ctx)
	if err != nil {
		return err
	}
	if len(letters) != want || !also(letters) {
		return fmt.Errorf("%d dead letters, want %d: %+v", len(letters), want, letters)
	}
	return nil
}

// await waits until want letters are listed, and returns them.
func (b *letterbox) await(ctx context.Context, t *testing.T, want int) (letters []deadLetter) {
	t.Helper()
	eventually(ctx, t, 10*time.Second, func() error {
		return b.holds(ctx, want, func(l []deadLetter) bool { letters = l; return true })
	})
	return letters
}

// awaitFates holds the process to its account: taken = processed + dead-lettered + refused + given
// back + in hand.
func awaitFates(ctx context.Context, t *testing.T, platform Platform) {
	t.Helper()
	eventually(ctx, t, 10*time.Second, func() error {
		m, err := platform.Metrics(ctx)
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
