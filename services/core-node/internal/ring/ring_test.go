package ring

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

func TestStaticOwnsEveryPartitionUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var owned []int
	err := Static(3).Run(ctx, func(ctx context.Context, l Lease) error {
		if !l.Valid() || l.Epoch() != 1 {
			t.Errorf("lease of %d: valid %t, epoch %d", l.Partition(), l.Valid(), l.Epoch())
		}
		mu.Lock()
		if owned = append(owned, l.Partition()); len(owned) == 3 {
			stop()
		}
		mu.Unlock()
		<-ctx.Done()
		return nil
	}, untilEnd)
	slices.Sort(owned)
	if err != nil || !slices.Equal(owned, []int{0, 1, 2}) {
		t.Errorf("owned %v, %v", owned, err)
	}
}

func TestOneThatFailsEndsAll(t *testing.T) {
	boom := errors.New("boom")
	err := Static(3).Run(t.Context(), func(ctx context.Context, l Lease) error {
		if l.Partition() == 1 {
			return boom
		}
		<-ctx.Done()
		return nil
	}, untilEnd)
	if !errors.Is(err, boom) {
		t.Errorf("ended with %v", err)
	}
}

func untilEnd(ctx context.Context, _ int) error {
	<-ctx.Done()
	return nil
}
