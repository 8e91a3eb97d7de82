//go:build linux && !race

package mqtttransport

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// counting counts what a transport publishes.
type counting struct {
	bus.Bus
	calls, opened atomic.Int64
}

func (c *counting) Call(ctx context.Context, topic string, key, request []byte, budget time.Duration) ([]byte, error) {
	c.calls.Add(1)
	return c.Bus.Call(ctx, topic, key, request, budget)
}

func (c *counting) Publish(m bus.Message, done func(error)) error {
	err := c.Bus.Publish(m, done)
	if err == nil && m.Topic == topics.Core {
		c.opened.Add(1)
	}
	return err
}

// TestReconnectStorm: 10,000 devices come in one instant, over the embedded broker that syncs to
// disk, and once more when their connections are lost (F18). All are back within seconds, none is
// refused; the core is asked about each once at most, and told once of each session.
func TestReconnectStorm(t *testing.T) {
	devices := 10000
	if files := int(raiseFileLimit(t, uint64(2*devices+1000))); files < 2*devices+1000 {
		devices = (files - 1000) / 2
	}
	address := bustest.DurableBroker(t)
	core := transporttest.NewCore()
	owner := bustest.Dial(t, address, bus.Options{Node: "core", ReplyPrefix: topics.CoreResponses})
	counted := &counting{Bus: bustest.Dial(t, address, bus.Options{Node: "mqtt", ReplyPrefix: topics.TransportResponses})}
	tr, err := transport.New(transporttest.Config(t), counted, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func() error{
		func() error { return core.Serve(ctx, owner) },
		func() error { return tr.Run(ctx) },
	} {
		running.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	s, stop := serve(t, tr, nil)
	t.Cleanup(func() {
		stop()
		cancel()
		running.Wait()
	})
	greetings := make([][]byte, devices)
	for i := range greetings {
		token := fmt.Sprintf("DEVICE-%05d", i)
		core.AddDevice(token)
		pk := hello(token, token, "-")
		pk.ProtocolVersion = v311
		if greetings[i], err = encode(pk); err != nil {
			t.Fatal(err)
		}
	}
	for storm := 1; storm <= 2; storm++ {
		calls, opened := counted.calls.Load(), counted.opened.Load()
		took, clients := comeBack(t, s.Addr(), greetings)
		calls, opened = counted.calls.Load()-calls, counted.opened.Load()-opened
		t.Logf("storm %d: %d devices back within %v, %d questions, %d messages about sessions", storm, devices, took, calls, opened)
		if took > 20*time.Second { // a busy machine; a quiet one needs a fraction
			t.Errorf("storm %d: it took %v until all were back", storm, took)
		}
		if calls > int64(devices) {
			t.Errorf("storm %d: %d questions about %d devices", storm, calls, devices)
		}
		if opened != int64(devices) {
			t.Errorf("storm %d: %d messages about %d sessions", storm, opened, devices)
		}
		for _, c := range clients {
			if err := syscall.Close(int(c)); err != nil {
				t.Error(err)
			}
		}
		for deadline := time.Now().Add(patience); counted.opened.Load() < int64(2*devices*storm); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the core was not told of all sessions' ends")
			}
		}
	}
}

// comeBack connects all at once and returns how long it took until the last had its CONNACK. A
// few goroutines play the devices, each sending all its greetings before it looks for an answer.
func comeBack(t *testing.T, addr string, greetings [][]byte) (time.Duration, []rawClient) {
	t.Helper()
	clients := make([]rawClient, len(greetings))
	workers := 8 * runtime.GOMAXPROCS(0)
	begun := time.Now()
	var coming sync.WaitGroup
	for w := range workers {
		coming.Go(func() {
			for i := w; i < len(clients); i += workers {
				clients[i] = dialRaw(t, addr)
				if _, err := syscall.Write(int(clients[i]), greetings[i]); err != nil {
					t.Error(err)
				}
			}
			var answer [4]byte
			for i := w; i < len(clients); i += workers {
				n, err := syscall.Read(int(clients[i]), answer[:])
				if n != 4 || answer != [4]byte{0x20, 2, 0, 0} {
					t.Errorf("device %d was answered % x (%v)", i, answer[:max(n, 0)], err)
				}
			}
		})
	}
	coming.Wait()
	return time.Since(begun), clients
}
