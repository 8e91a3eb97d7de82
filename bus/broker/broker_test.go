package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/bus/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 2

// world is a broker and a client of it.
type world struct {
	config broker.Config
	dir    string
	broker *broker.Broker
	client *bus.Client
}

func start(t *testing.T, dir string, change func(*broker.Config)) *world {
	t.Helper()
	w := &world{dir: dir, config: broker.DefaultConfig()}
	w.config.CleanInterval = 20 * time.Millisecond
	if change != nil {
		change(&w.config)
	}
	settings := bus.DefaultConfig()
	var err error
	w.broker, err = broker.Start(w.config, broker.Options{Dir: dir, Group: settings.Group})
	if err != nil {
		t.Fatal(err)
	}
	settings.Brokers = []string{w.broker.Addr()}
	specs := topics.Embedded(partitions, nil, w.config.DeadLetterBytes)
	if err := topics.Create(t.Context(), settings.Brokers, specs, 1); err != nil {
		t.Fatal(err)
	}
	w.client, err = bus.Dial(t.Context(), settings, bus.Options{Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.stop(t) })
	return w
}

func (w *world) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(w.client.Close(), w.broker.Close()); err != nil {
		t.Error(err)
	}
}

// publish sends one message and returns how it ended.
func (w *world) publish(topic string, key, value []byte) error {
	done := make(chan error, 1)
	if err := w.client.Publish(bus.Message{Topic: topic, Key: key, Value: value}, func(err error) { done <- err }); err != nil {
		return err
	}
	return <-done
}

func (w *world) open(t *testing.T, topic string, partition int) bus.Reader {
	t.Helper()
	r, err := w.client.OpenReader(t.Context(), topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// eventually waits for ok, which looks at something only the broker's own rounds change.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:0", "localhost", ":9092"} {
		if b, err := broker.Start(broker.Config{Listen: address}, broker.Options{}); err == nil {
			t.Errorf("%s: started at %s", address, b.Addr())
		}
	}
}

// TestBacklogIsBounded: beyond the bound devices' messages are refused, dead letters are not, and
// handling makes room.
func TestBacklogIsBounded(t *testing.T) {
	const bound = 1 << 20
	w := start(t, t.TempDir(), func(c *broker.Config) { c.BacklogBytes = bound })
	value := make([]byte, 16<<10)
	taken := 0
	var err error
	for ; err == nil && taken < 200; taken++ {
		err = w.publish(topics.RuleEngine, []byte("device"), value)
	}
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("after %d messages of 16 KiB: %v, want ErrUnavailable", taken, err)
	}
	if held, _ := w.broker.Backlog(); held > bound || held < bound/2 {
		t.Errorf("the backlog holds %d bytes, want at most and nearly %d", held, bound)
	}
	if err := w.publish(topics.DeadLetters, nil, value); err != nil {
		t.Errorf("dead letter: %v", err)
	}
	handleAll(t, w, taken-1)
	eventually(t, "a message is taken on again", func() bool { return w.publish(topics.RuleEngine, []byte("device"), value) == nil })
}

// handleAll reads and commits count records of tb.rule-engine.
func handleAll(t *testing.T, w *world, count int) {
	t.Helper()
	var readers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	left := make(chan int, 1024)
	for p := range partitions {
		r := w.open(t, topics.RuleEngine, p)
		readers.Go(func() {
			for {
				records, err := r.Read(ctx, 20_000)
				if err != nil {
					return
				}
				if err := r.Commit(t.Context(), records[len(records)-1].Offset+1, ""); err != nil {
					t.Error(err)
				}
				left <- len(records)
			}
		})
	}
	for count > 0 {
		count -= <-left
	}
	stop()
	readers.Wait()
}

// TestCrashKeepsOffsets: what a crash leaves on disk after everything was handled and deleted still
// knows which offset comes next.
func TestCrashKeepsOffsets(t *testing.T) {
	w := start(t, t.TempDir(), func(c *broker.Config) { c.SegmentBytes = 4 << 10 })
	for i := range 50 {
		if err := w.publish(topics.RuleEngine, []byte("device"), fmt.Appendf(make([]byte, 1000), "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	handleAll(t, w, 50)
	eventually(t, "handled messages are deleted", func() bool { held, _ := w.broker.Backlog(); return held < 2000 })

	crashed := t.TempDir()
	if err := os.CopyFS(crashed, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	after := start(t, crashed, nil)
	if err := after.publish(topics.RuleEngine, []byte("device"), []byte("next")); err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		r := after.open(t, topics.RuleEngine, p)
		committed, _, err := r.Committed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if committed < 0 {
			continue // the other partition never had a message
		}
		records, err := r.Read(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := records[0]; got.Offset != committed || string(got.Value) != "next" {
			t.Errorf("the next record is %q at %d, want it at the committed offset %d", got.Value, got.Offset, committed)
		}
	}
}

// TestTailsAreBounded: topics that nobody commits are trimmed.
func TestTailsAreBounded(t *testing.T) {
	const tail = 256 << 10
	w := start(t, t.TempDir(), func(c *broker.Config) { c.TailBytes, c.DeadLetterBytes, c.SegmentBytes = tail, 2*tail, 32<<10 })
	value := make([]byte, 8<<10)
	for range 400 { // 3.2 MB
		for _, topic := range []string{topics.Events, topics.DeadLetters} {
			if err := w.publish(topic, nil, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	limits := map[string]int64{topics.Events: tail, topics.DeadLetters: 2 * tail}
	for topic, limit := range limits {
		const growth = tail/4 + 2*(64<<10) // until the next trim, and files that are not wholly deleted
		eventually(t, topic+" is trimmed", func() bool { return size(t, w.dir, topic) < limit+growth })
	}
}

// size returns how many bytes the files below dir have that belong to topic, all files for "".
func size(t *testing.T, dir, topic string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil || entry.IsDir() {
			return err
		}
		if relative, _ := filepath.Rel(dir, path); topic != "" && !filepathContains(relative, topic) {
			return nil
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func filepathContains(path, topic string) bool {
	for path != "." && path != "/" {
		if base := filepath.Base(path); len(base) >= len(topic) && base[:len(topic)] == topic {
			return true
		}
		path = filepath.Dir(path)
	}
	return false
}

// TestMillionsStayBounded sends many messages through a handled topic and watches disk and memory. The standard
// run sends 200,000; BROKER_MESSAGES=5000000 is the long one.
func TestMillionsStayBounded(t *testing.T) {
	count := 200_000
	if given := os.Getenv("BROKER_MESSAGES"); given != "" {
		var err error
		if count, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	w := start(t, t.TempDir(), nil)
	var publishing sync.WaitGroup
	publishing.Go(func() { publishMany(t, w, count) })

	var maxDisk int64
	var maxHeap uint64
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			maxDisk = max(maxDisk, size(t, w.dir, ""))
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			maxHeap = max(maxHeap, m.HeapInuse)
			time.Sleep(20 * time.Millisecond)
		}
	})
	began := time.Now()
	handleAll(t, w, count)
	took := time.Since(began)
	publishing.Wait()
	eventually(t, "all is deleted", func() bool { held, _ := w.broker.Backlog(); return held < 2<<20 })
	stop()
	watching.Wait()
	t.Logf("%d messages of 200 B in %v: disk at most %d MB, %d KB at the end, heap at most %d MB",
		count, took.Round(time.Millisecond), maxDisk>>20, size(t, w.dir, "")>>10, maxHeap>>20)
	if maxDisk > 600<<20 || size(t, w.dir, "") > 64<<20 || maxHeap > 300<<20 {
		t.Error("not bounded")
	}
}

// publishMany sends count messages, again those that are refused for the backlog's sake.
func publishMany(t *testing.T, w *world, count int) {
	value := make([]byte, 200)
	again := make(chan struct{}, count)
	var acknowledged sync.WaitGroup
	done := func(err error) {
		switch {
		case errors.Is(err, bus.ErrUnavailable):
			again <- struct{}{}
		case err != nil:
			t.Error(err)
		}
		acknowledged.Done()
	}
	key := make([]byte, 8)
	for i := count; i > 0; {
		for ; i > 0; i-- {
			binary.BigEndian.PutUint64(key, uint64(i%1000))
			m := bus.Message{Topic: topics.RuleEngine, Key: key, Value: value}
			acknowledged.Add(1)
			for w.client.Publish(m, done) != nil {
				<-w.client.Room(m.Topic, key)
			}
		}
		acknowledged.Wait()
		i = len(again)
		for range i {
			<-again
		}
	}
}
