package process

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// journal records what parts did, in order.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) note(entry string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
}

// part runs until told to stop, then takes drain to do so.
func (j *journal) part(name string, drain time.Duration, err error) Runner {
	return RunnerFunc(func(ctx context.Context) error {
		j.note(name + " runs")
		<-ctx.Done()
		j.note(name + " stops")
		time.Sleep(drain)
		j.note(name + " stopped")
		return err
	})
}

func TestSequenceStopsInReverseEachFully(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		sequence := Sequence(j.part("store", time.Second, nil), j.part("bus", time.Minute, nil), j.part("door", time.Second, nil))
		go func() { ended <- sequence.Run(ctx) }()
		synctest.Wait()
		slices.Sort(j.entries) // parts are started in order, but nothing says which runs first
		if want := []string{"bus runs", "door runs", "store runs"}; !cmp.Equal(want, j.entries) {
			t.Fatal(cmp.Diff(want, j.entries))
		}
		j.entries = nil
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		want := []string{"door stops", "door stopped", "bus stops", "bus stopped", "store stops", "store stopped"}
		if diff := cmp.Diff(want, j.entries); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSequenceOneEndingStopsAll(t *testing.T) {
	errBroken, errDrain := errors.New("broken"), errors.New("drain")
	for _, c := range []struct {
		name string
		ends error
	}{
		{"with an error", errBroken},
		{"cleanly", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				ends := RunnerFunc(func(context.Context) error { return c.ends })
				err := Sequence(j.part("store", 0, errDrain), ends, j.part("door", 0, nil)).Run(t.Context())
				if !errors.Is(err, errDrain) || c.ends != nil && !errors.Is(err, c.ends) {
					t.Errorf("got %v, want the errors of all parts", err)
				}
				if n := len(j.entries); j.entries[n-1] != "store stopped" {
					t.Errorf("the store was not stopped last: %v", j.entries)
				}
			})
		})
	}
}

func TestSequenceOfNothingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		if err := Sequence().Run(ctx); err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) != time.Hour {
			t.Error("it did not wait for its context")
		}
	})
}
