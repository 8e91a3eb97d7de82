package topics_test

import (
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/bus/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) []string {
	t.Helper()
	b, err := broker.Start(broker.DefaultConfig(), broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return []string{b.Addr()}
}

func TestCreateIsIdempotentAndConcurrent(t *testing.T) {
	brokers := start(t)
	var creating sync.WaitGroup
	for range 4 {
		creating.Go(func() {
			if err := topics.Create(t.Context(), brokers, topics.Standard(4), 1); err != nil {
				t.Error(err)
			}
		})
	}
	creating.Wait()
	if err := topics.Check(t.Context(), brokers, topics.Standard(4)); err != nil {
		t.Error(err)
	}
}

func TestCheckFindsDifferences(t *testing.T) {
	brokers := start(t)
	if err := topics.Check(t.Context(), brokers, topics.Standard(2)); !errors.Is(err, topics.ErrMismatch) {
		t.Errorf("no topics at all: %v", err)
	}
	if err := topics.Create(t.Context(), brokers, topics.Standard(2), 1); err != nil {
		t.Fatal(err)
	}
	if err := topics.Create(t.Context(), brokers, topics.Standard(3), 1); !errors.Is(err, topics.ErrMismatch) {
		t.Errorf("another partition count: %v", err)
	}
	larger := topics.Standard(2)
	larger[0].MaxBytes *= 2
	if err := topics.Check(t.Context(), brokers, larger); !errors.Is(err, topics.ErrMismatch) {
		t.Errorf("larger messages than the topic takes: %v", err)
	}
}

func TestOwnedTopicsAgree(t *testing.T) {
	for _, specs := range [][]topics.Spec{topics.Standard(7), topics.Embedded(7, nil, 1<<20)} {
		for _, s := range specs {
			if s.Owned != topics.Owned(s.Name) || s.Owned && s.Partitions != 7 {
				t.Errorf("%s: owned %v, %d partitions", s.Name, s.Owned, s.Partitions)
			}
		}
	}
	if !topics.Owned(topics.RuleEngine+".high") || topics.Owned(topics.DeadLetters) {
		t.Error("a queue's topic is owned, the dead letters are not")
	}
}

func TestCheckOwned(t *testing.T) {
	brokers := start(t)
	var queues []string
	check := func(what string, want int) {
		t.Helper()
		got, err := topics.CheckOwned(t.Context(), brokers, "f.", queues)
		if got != want || errors.Is(err, topics.ErrMismatch) != (want == 0) {
			t.Errorf("%s: %d partitions, %v, want %d", what, got, err, want)
		}
	}
	create := func(specs ...topics.Spec) {
		t.Helper()
		if err := topics.Create(t.Context(), brokers, topics.Prefixed("f.", specs), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := topics.Create(t.Context(), brokers, topics.Standard(2), 1); err != nil { // another fleet's
		t.Fatal(err)
	}
	check("no topics at all", 0)
	create(topics.Standard(3)...)
	check("as installed", 3)
	queue := topics.Standard(3)[0]
	queue.Name += ".high"
	create(queue)
	check("a queue nobody reads", 0)
	queues = []string{"high"}
	check("a further queue", 3)
	queues = append(queues, "low")
	check("a queue without its topic", 0)
	queue.Name, queue.Partitions = topics.RuleEngine+".low", 4
	create(queue)
	check("a further queue that differs", 0)
}
