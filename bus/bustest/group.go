package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
)

// groupReads: members share a topic's partitions; what one committed the others do not read, and a member that leaves is replaced.
func groupReads(t *testing.T, s *stage) {
	const messages = 40
	c := s.dial(t, "publisher", nil)
	group := bus.Group{Name: "bustest-group-" + s.suffix, Topic: s.topic, Session: 6 * time.Second, Heartbeat: 100 * time.Millisecond}
	got := make(chan string, 4*messages)
	var members sync.WaitGroup
	defer members.Wait()
	join := func(name string) (leave context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		m := s.dial(t, name, nil)
		members.Go(func() {
			if err := m.Join(ctx, group, forwardAndCommit(t, got)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		return cancel
	}
	seen := map[string]int{}
	round := func(what string) {
		t.Helper()
		for i := range messages {
			publish(t, c, bus.Message{Topic: s.topic, Key: fmt.Append(nil, i), Value: fmt.Append(nil, what, i)})
		}
		for i := range messages {
			for deadline := time.After(patience); seen[fmt.Sprint(what, i)] == 0; {
				select {
				case value := <-got:
					seen[value]++
				case <-deadline:
					t.Fatalf("%s: message %d did not come", what, i)
				}
			}
		}
	}
	leaveFirst := join("first")
	defer leaveFirst()
	round("one member ")
	leaveSecond := join("second")
	defer leaveSecond()
	round("two members ")
	leaveFirst()
	round("the other left ")
	for value, times := range seen {
		if times != 1 {
			t.Errorf("%q came %d times", value, times)
		}
	}
}

// forwardAndCommit is the work of a member: what it reads goes to got, and is committed.
func forwardAndCommit(t *testing.T, got chan<- string) func(context.Context, bus.Reader) error {
	return func(ctx context.Context, r bus.Reader) error {
		for {
			records, err := r.Read(ctx, 10)
			if err != nil {
				return nil // the group gathers
			}
			for _, record := range records {
				got <- string(record.Value)
			}
			if err := r.Commit(context.WithoutCancel(ctx), records[len(records)-1].Offset+1, ""); err != nil {
				t.Errorf("commit: %v", err)
			}
		}
	}
}
