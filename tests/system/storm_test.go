//go:build fleet

package system

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// TestFaultReconnectStorm (F18) ends both MQTT transports while many devices are connected: all come back at once,
// through two balancers, and transports ask Kafka at most once for each.
func TestFaultReconnectStorm(t *testing.T) {
	ctx, s := newScene(t, "F18", shared(t), FleetOptions{})
	s.rest() // making devices is what takes longest
	began := time.Now()
	crowd := &crowd{addresses: []string{s.fleet.Doors().MQTT, s.secondBalancer(ctx)}, tokens: newStrangers(ctx, t, s.tenant, crowdSize(t))}
	t.Logf("%d devices made after %s", len(crowd.tokens), time.Since(began).Round(10*time.Millisecond))
	s.load(ctx)
	s.gap = s.devices.watchGap(ctx)
	crowd.gather(ctx)
	t.Cleanup(crowd.leave)
	eventually(ctx, t, time.Minute, func() error { return crowd.all() })
	for _, role := range s.fleet.MQTT {
		role.Kill()
	}
	eventually(ctx, t, 10*time.Second, func() error {
		if n := crowd.connected.Load(); n > 0 {
			return fmt.Errorf("%d devices have not noticed", n)
		}
		return nil
	})
	began = time.Now()
	if err := s.fleet.each(s.fleet.MQTT, func(r *Role) error { return r.Start(ctx) }); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, time.Minute, func() error { return crowd.all() })
	took := time.Since(began)
	asked := 0.0
	for _, role := range s.fleet.MQTT {
		m, err := role.Metrics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		asked += sumOf(m, "transport_calls_total")
	}
	if most := len(crowd.tokens) + len(s.devices.of("MQTT").ids); asked > float64(most) {
		t.Errorf("%v questions put to Kafka for %d devices", asked, most)
	}
	t.Logf("%d devices were back %s after the transports' start began; %v questions", len(crowd.tokens), took.Round(10*time.Millisecond), asked)
	s.judge(ctx, fmt.Sprintf("both MQTT transports killed, %d devices come back at once", len(crowd.tokens)), 1)
}

// secondBalancer starts one more in front of the same fleet and returns where its MQTT is.
func (s *scene) secondBalancer(ctx context.Context) string {
	s.t.Helper()
	balancer, err := part.NewHAProxy(ctx, s.t.TempDir(), s.fleet.balanced())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(balancer.Kill)
	if err := balancer.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
	return balancer.MQTT
}

// crowdSize is how many devices come: as many as STORM_DEVICES asks for, which the limit of open files lets this process hold, and
// two balancers serve, which have two for each.
func crowdSize(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return min(times(t, "STORM_DEVICES", often(300, 10_000)), int(limit.Max)-2000)
}

// crowd is devices that stay connected, and connect again as soon as they are not.
type crowd struct {
	addresses []string // the devices' in turn
	tokens    []string
	connected atomic.Int64
	end       context.CancelFunc
	running   sync.WaitGroup
}

func (c *crowd) gather(ctx context.Context) {
	ctx, c.end = context.WithCancel(ctx)
	for i, token := range c.tokens {
		address := c.addresses[i%len(c.addresses)]
		c.running.Go(func() {
			for ctx.Err() == nil {
				conn, code, err := dialMQTT(ctx, address, token, 4)
				if err == nil && code == 0 {
					c.remain(ctx, conn)
				}
				if err == nil {
					conn.Close()
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
}

// remain returns when the connection has ended.
func (c *crowd) remain(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c.connected.Add(1)
	defer c.connected.Add(-1)
	_ = conn.SetDeadline(time.Time{}) // it cannot fail on an open connection
	_, _, _ = readPacket(conn)        // nothing comes but the end
}

// all returns nil when every one is connected.
func (c *crowd) all() error {
	if n := int(c.connected.Load()); n != len(c.tokens) {
		return fmt.Errorf("%d of %d devices are connected", n, len(c.tokens))
	}
	return nil
}

func (c *crowd) leave() {
	c.end()
	c.running.Wait()
}
