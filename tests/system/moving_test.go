//go:build fleet

package system

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// stay is how many exchanges a device has with one transport before it goes to the next.
const stay = 3

// movingLink goes from one transport to the next.
type movingLink struct {
	links []link
	at    int
	left  int
	moves atomic.Int64
}

func (m *movingLink) exchange(ctx context.Context, readings [][]byte) (int, error) {
	if m.left == 0 {
		m.links[m.at].close()
		m.at, m.left = (m.at+1)%len(m.links), stay
		m.moves.Add(1)
	}
	m.left--
	return m.links[m.at].exchange(ctx, readings)
}

func (m *movingLink) close() {
	for _, one := range m.links {
		one.close()
	}
}

// TestFaultDevicesMove (F5) has every device go from transport to transport, of its own protocol and of others, with
// what was not acknowledged at one sent again at the next.
func TestFaultDevicesMove(t *testing.T) {
	ctx, s := newScene(t, "F5", shared(t), FleetOptions{})
	s.rest()
	var moving []*movingLink
	for i, device := range s.devices.firmware {
		m := &movingLink{left: stay, at: i % 5}
		for _, role := range s.fleet.MQTT {
			m.links = append(m.links, NewMQTTFirmware(*device, role.Listen).link)
		}
		for _, role := range s.fleet.HTTP {
			m.links = append(m.links, NewHTTPFirmware(*device, role.Listen).link)
		}
		m.links = append(m.links, NewCoAPFirmware(*device, s.fleet.CoAP[0].Listen).link)
		device.link, moving = m, append(moving, m)
	}
	before := s.uplinks(ctx)
	s.load(ctx)
	time.Sleep(lasting(8*time.Second, time.Minute))
	s.goOn(ctx)
	for i, n := range s.uplinks(ctx) {
		if n-before[i] < float64(len(moving)) {
			t.Errorf("%s was given only %v messages", s.fleet.transports()[i].Name, n-before[i])
		}
	}
	moves := 0
	for _, m := range moving {
		moves += int(m.moves.Load())
		if m.moves.Load() < 5 {
			t.Error("a device has not been everywhere")
		}
	}
	s.judge(ctx, "a device goes to another transport", moves)
}

// transports are all of the fleet.
func (f *Fleet) transports() []*Role { return slices.Concat(f.MQTT, f.HTTP, f.CoAP) }

// uplinks is how many messages of devices each transport has put on the bus.
func (s *scene) uplinks(ctx context.Context) (all []float64) {
	s.t.Helper()
	for _, role := range s.fleet.transports() {
		m, err := role.Metrics(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, sumOf(m, "transport_uplinks_total"))
	}
	return all
}
