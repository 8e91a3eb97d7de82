package bus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
)

func TestPublishAndRead(t *testing.T) {
	client := bustest.Start(t)
	done := make(chan error, 100)
	for i := range 100 {
		m := bus.Message{Topic: topics.RuleEngine, Key: []byte("k"), Value: fmt.Append(nil, i), Headers: []bus.Header{{Key: "kind", Value: []byte("x")}}}
		if err := client.Publish(m, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for p := range bustest.Partitions {
		r, err := client.OpenReader(t.Context(), topics.RuleEngine, p)
		if err != nil {
			t.Fatal(err)
		}
		for seen < 100 {
			if p == 1 {
				break
			}
			records, err := r.Read(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range records {
				if string(rec.Value) != fmt.Sprint(seen) || rec.Headers[0].Key != "kind" {
					t.Fatalf("%q, want %d", rec.Value, seen)
				}
				seen++
			}
		}
		if err := r.Commit(t.Context(), 5, "meta"); err != nil {
			t.Fatal(err)
		}
		fmt.Println(r.Committed(t.Context()))
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCall(t *testing.T) {
	client := bustest.Start(t)
	go func() {
		for p := range 2 {
			go func() {
				r, err := client.OpenReader(t.Context(), topics.TransportRequests, p)
				if err != nil {
					return
				}
				for {
					records, err := r.Read(t.Context(), 10)
					if err != nil {
						return
					}
					for _, rec := range records {
						client.Answer(rec, append([]byte("re "), rec.Value...))
					}
				}
			}()
		}
	}()
	for i := range 20 {
		start := time.Now()
		a, err := client.Call(t.Context(), topics.TransportRequests, fmt.Append(nil, i), []byte("hi"), time.Second)
		if err != nil || string(a) != "re hi" {
			t.Fatal(err, a)
		}
		fmt.Println(time.Since(start))
	}
}
