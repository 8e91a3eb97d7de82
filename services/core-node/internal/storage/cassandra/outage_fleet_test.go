//go:build fleet

package cassandra

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// way is the way to Cassandra, which can be cut (as when its process is killed: connections are reset and
// refused) and stopped (as when it is suspended: connections are taken and nothing is answered).
type way struct {
	to string

	mu      sync.Mutex
	address string
	door    net.Listener
	conns   []net.Conn
	pass    chan struct{} // closed: bytes pass
	group   sync.WaitGroup
}

func newWay(t *testing.T, to string) *way {
	w := &way{to: to, address: "127.0.0.1:0", pass: make(chan struct{})}
	close(w.pass)
	w.restore(t)
	t.Cleanup(func() {
		w.resume()
		w.cut()
		w.group.Wait()
	})
	return w
}

func (w *way) restore(t *testing.T) {
	t.Helper()
	door, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.door, w.address = door, door.Addr().String()
	w.group.Go(func() {
		for {
			near, err := door.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", w.to)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, near, far)
			w.mu.Unlock()
			w.group.Go(func() { w.carry(far, near) })
			w.group.Go(func() { w.carry(near, far) })
		}
	})
}

func (w *way) carry(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		pass := w.pass
		w.mu.Unlock()
		<-pass
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				from.Close()
			}
			return
		}
	}
}

func (w *way) cut() {
	w.door.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *way) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass = make(chan struct{})
}

func (w *way) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.pass:
	default:
		close(w.pass)
	}
}

// TestOutage takes Cassandra away, the only node there is, in the ways it goes, and gives it back.
func TestOutage(t *testing.T) {
	if err := installed(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ away, back func(*testing.T, *way) }{
		"killed":    {func(_ *testing.T, w *way) { w.cut() }, func(t *testing.T, w *way) { w.restore(t) }},
		"suspended": {func(_ *testing.T, w *way) { w.stop() }, func(_ *testing.T, w *way) { w.resume() }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWay(t, underTest("").Hosts[0])
			o := underTest(theKeyspace)
			o.Timeout, o.InFlight = time.Second, 2
			o.renewAfter = 5 * time.Second
			s := openThrough(t, o, w)
			began := s.session()
			one := oneWrite()
			if err := s.Write(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			c.away(t, w)
			for range 8 { // longer than the driver's own patience with a node
				started := time.Now()
				err := s.Write(t.Context(), one)
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Fatalf("without Cassandra: %v", err)
				}
				if took := time.Since(started); took > o.Timeout+500*time.Millisecond {
					t.Errorf("an answer took %v", took)
				}
				time.Sleep(max(0, o.Timeout-time.Since(started)))
			}
			if s.Ready() == nil {
				t.Error("ready without Cassandra")
			}
			if _, err := s.Latest(t.Context(), one[0].Entity, nil); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("read without Cassandra: %v", err)
			}
			if err := s.Create(t.Context(), storage.Document{ID: one[0].Entity, Body: []byte("{}")}); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("create without Cassandra: %v", err)
			}
			many(t, s, o.Timeout)
			c.back(t, w)
			back := time.Now()
			for s.Write(t.Context(), one) != nil || s.Ready() != nil {
				if time.Since(back) > 10*time.Second {
					t.Fatal("no writes 10 s after Cassandra is back")
				}
				time.Sleep(50 * time.Millisecond)
			}
			if s.Write(t.Context(), one) != nil {
				t.Error("not for good")
			}
			t.Logf("new session: %v", s.session() != began)
			t.Logf("writes and readiness %v after Cassandra is back", time.Since(back).Round(10*time.Millisecond))
		})
	}
}

// openThrough opens a store whose every connection goes through w.
func openThrough(t *testing.T, o Options, w *way) *Store {
	t.Helper()
	o = o.withDefaults()
	o.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		w.mu.Lock()
		address := w.address
		w.mu.Unlock()
		return (&net.Dialer{Timeout: o.Timeout}).DialContext(ctx, network, address)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func oneWrite() []storage.Write {
	return []storage.Write{{
		Entity: ident.EntityID{Type: ident.Device, ID: ident.New()}, Time: 1, Stamp: 1,
		Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}},
	}}
}

// TestNobodyThere opens a store where there is none.
func TestNobodyThere(t *testing.T) {
	o := underTest(theKeyspace)
	o.Hosts, o.Timeout = []string{"127.0.0.1:1"}, time.Second
	started := time.Now()
	_, err := Open(t.Context(), o)
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// many asks for more than may be under way while Cassandra is away: all are told in time.
func many(t *testing.T, s *Store, timeout time.Duration) {
	t.Helper()
	started := time.Now()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if err := s.Write(t.Context(), oneWrite()); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("without Cassandra: %v", err)
			}
		})
	}
	group.Wait()
	if took := time.Since(started); took > 4*timeout {
		t.Errorf("the last of many answers took %v", took)
	}
}
