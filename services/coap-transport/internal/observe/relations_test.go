package observe

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// bench is relations over an exchange table, with the time, the client and the platform in plain view.
type bench struct {
	*Relations
	table   *exchange.Table
	device  *transport.Device
	started time.Time

	mu       sync.Mutex
	gone     bool // the client answers nothing
	sent     []packet.Message
	active   int
	closed   int
	requests bool // are wanted
	stages   []string
	wake     chan struct{}
	stop     chan struct{}
}

// newDevice takes a device from a Transport, which alone can make one.
func transportDevice(t *testing.T) *transport.Device {
	t.Helper()
	rig := transporttest.Start(t, nil)
	rig.Core.AddDevice("T")
	d, err := rig.Transport.Authenticate(t.Context(), transport.Credentials{Token: "T"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newBench(d *transport.Device) *bench {
	b := &bench{device: d, started: time.Now(), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	b.table = exchange.New(exchange.Limits{
		InHand: 10, Remembered: 10, RememberedBytes: 1 << 20, Retransmitting: 10, Piggyback: time.Second,
	}, b, b, func() {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	})
	b.Relations = New(Options{
		Limits: Limits{Devices: 10, Requests: 3, Keys: 5, Probe: time.Hour},
		Wire:   b.table, Platform: b, Bodies: b, Counts: b, Now: b.now,
	})
	go b.keepTime()
	return b
}

func (b *bench) now() time.Duration { return time.Since(b.started) }

func (b *bench) keepTime() {
	timer := time.NewTimer(time.Hour)
	for {
		next, ok := b.table.Expire(b.now())
		timer.Stop()
		if ok {
			timer.Reset(max(next-b.now(), 0))
		}
		select {
		case <-timer.C:
		case <-b.wake:
		case <-b.stop:
			timer.Stop()
			return
		}
	}
}

// Send implements exchange.Sink: the client answers what asks for it, a moment later.
func (b *bench) Send(to exchange.Endpoint, datagram []byte) {
	m, err := packet.Parse(slices.Clone(datagram))
	if err != nil {
		panic(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Code != packet.Empty {
		b.sent = append(b.sent, m)
	}
	if b.gone || m.Type != packet.Confirmable {
		return
	}
	kind := packet.Acknowledgement
	if m.Code == packet.Empty {
		kind = packet.Reset
	}
	answer := packet.AppendHeader(nil, kind, packet.Empty, m.ID, nil)
	time.AfterFunc(50*time.Millisecond, func() {
		m, _ := packet.Parse(answer)
		b.table.Receive(b.now(), to, answer, m)
	})
}

func (b *bench) Duplicate()                             {}
func (b *bench) Overload()                              {}
func (b *bench) Forgotten()                             {}
func (b *bench) Unacknowledged()                        {}
func (b *bench) Observers(int)                          {}
func (b *bench) Notified()                              {}
func (b *bench) ObserverLost()                          {}
func (b *bench) Unsaid()                                {}
func (b *bench) Keep(exchange.Endpoint, uint64, []byte) {}

func (b *bench) EncodeRPC(*transport.Device, transport.RPCRequest) ([]byte, error) { return nil, nil }

func (b *bench) Open(context.Context, *transport.Device, string, transport.Downlinks) (transport.Session, error) {
	return b, nil
}

func (b *bench) ID() ident.ID { return ident.ID{1} }

func (b *bench) Active() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active++
}

func (b *bench) actives() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.active
}

// leave has the client answer nothing any more, or again.
func (b *bench) leave(gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = gone
}

func (b *bench) SubscribeRPC(on bool) { b.requests = on }

// Close is the session's; Relations has one too.
func (b *bench) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
}

func (b *bench) ReportRPC(_ *transport.Device, _ ident.ID, r transport.RPCRequest, stage sluicepb.RpcStage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stages = append(b.stages, fmt.Sprint(r.ID, " ", stage))
}

// take returns what was sent since the last take, as text such as "CON 3 {…}".
func (b *bench) take() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.sent {
		sequence := uint32(0)
		for o, value := range m.Options.All() {
			if o == packet.Observe {
				sequence, _ = packet.Uint(value)
			}
		}
		all = append(all, fmt.Sprintf("%s %d %s", [...]string{"CON", "NON"}[m.Type], sequence, m.Payload))
	}
	b.sent = nil
	return all
}

func (b *bench) observe(t *testing.T, k Kind, confirmable bool) {
	t.Helper()
	g, err := b.Begin(t.Context(), b.device, k, Target{
		Endpoint: exchange.Endpoint{Socket: int(k)}, Token: "t", Confirmable: confirmable, BlockExponent: packet.MaxExponent,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Start()
}

// end stops the time of the bench.
func (b *bench) end() {
	b.Relations.Close()
	close(b.stop)
}

func (b *bench) change(n int64) {
	b.find(b.device.ID).AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(n)}}, nil)
}

// TestADayWithoutAChange: whose client answers when it is asked is not lost, and is active all the time.
func TestADayWithoutAChange(t *testing.T) {
	device := transportDevice(t)
	for _, confirmable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(device)
			defer b.end()
			b.observe(t, Attributes, confirmable)
			for range 24 * 60 {
				before := b.actives()
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				if b.actives() == before {
					t.Fatal("a minute without activity")
				}
			}
			if b.closed != 0 || len(b.sent) != 0 {
				t.Fatalf("closed %d times, sent %v", b.closed, b.take())
			}
			b.change(1)
			time.Sleep(time.Second)
			synctest.Wait()
			kind := "CON" // the first after a day is, whatever was asked for (RFC 7641 §4.5)
			if got := b.take(); !slices.Equal(got, []string{kind + ` 1 {"k":1}`}) {
				t.Errorf("sent %v", got)
			}
			b.change(2)
			time.Sleep(time.Second)
			synctest.Wait()
			if !confirmable {
				kind = "NON"
			}
			if got := b.take(); !slices.Equal(got, []string{kind + ` 2 {"k":2}`}) {
				t.Errorf("sent %v", got)
			}
		})
	}
}

// TestWhoIsGoneIsForgotten: after an hour of silence it is asked, and lost when it does not answer.
func TestWhoIsGoneIsForgotten(t *testing.T) {
	device := transportDevice(t)
	for _, confirmable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(device)
			defer b.end()
			b.observe(t, Attributes, confirmable)
			b.leave(true)
			time.Sleep(time.Hour + 5*time.Minute)
			synctest.Wait()
			if b.closed != 1 || b.find(device.ID) != nil {
				t.Errorf("closed %d times", b.closed)
			}
		})
	}
}

// TestNotificationsAreSentAgain: four times, each after twice as long; then the relation is over (RFC 7641 §4.5).
func TestNotificationsAreSentAgain(t *testing.T) {
	device := transportDevice(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(device)
		defer b.end()
		b.observe(t, Attributes, true)
		b.leave(true)
		for n := range int64(5) {
			b.change(n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := b.take(); len(got) != 5 || slices.ContainsFunc(got, func(s string) bool { return s != got[0] }) {
			t.Errorf("sent %v", got)
		}
		if b.closed != 1 {
			t.Errorf("closed %d times", b.closed)
		}
	})
}

// TestRequestNotAcknowledgedInTime: it is reported, and the next has its turn.
func TestRequestNotAcknowledgedInTime(t *testing.T) {
	device := transportDevice(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(device)
		defer b.end()
		b.observe(t, Requests, true)
		if !b.requests {
			t.Fatal("no requests are asked for")
		}
		b.leave(true)
		d := b.find(device.ID)
		for id := range int32(2) {
			d.RPC(transport.RPCRequest{ID: id, Method: "m", Expires: time.Now().Add(time.Hour), Acknowledge: 5 * time.Second})
		}
		d.RPC(transport.RPCRequest{ID: 2, Method: "late", Expires: time.Now().Add(time.Second)})
		time.Sleep(6 * time.Second)
		b.leave(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		want := []string{"0 RPC_SENT", "0 RPC_TIMED_OUT", "1 RPC_SENT", "1 RPC_DELIVERED"}
		if !slices.Equal(b.stages, want) {
			t.Errorf("stages %v, want %v", b.stages, want)
		}
	})
}

// TestChangesOfManyKeys: what waits is bounded, and a key is in it once.
func TestChangesOfManyKeys(t *testing.T) {
	var p pending
	for n := range 10 {
		p.change([]telemetry.KeyValue{{Key: fmt.Sprint(n % 7), Value: telemetry.OfLong(int64(n))}}, nil, 5)
	}
	whole := p.change(nil, []string{"0", "x"}, 5)
	if len(p.updated) != 4 || len(p.deleted) != 2 || !whole || p.updated[0].Key != "1" || p.updated[0].Value != telemetry.OfLong(8) {
		t.Errorf("%+v, %v", p, whole)
	}
	if p.change([]telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(1)}}, nil, 5); slices.Contains(p.deleted, "x") {
		t.Errorf("%+v", p)
	}
}

// TestARelationBeginsWhileTheLastEnds: the session that goes away with the last relation does not take a new one along.
func TestARelationBeginsWhileTheLastEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(transportDevice(t))
		defer b.end()
		b.observe(t, Attributes, true)
		ending := b.find(b.device.ID)
		ending.mu.Lock()
		finish := ending.drop(ending.relations[Attributes])
		ending.mu.Unlock()
		b.observe(t, Requests, true)
		finish()
		if now := b.find(b.device.ID); now == nil || now == ending || now.relations[Requests] == nil {
			t.Error("the new relation went with the old session")
		}
	})
}
