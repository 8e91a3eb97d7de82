//go:build fleet

package system

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// subscriber is a device on MQTT that has subscribed to updates of its shared attributes.
type subscriber struct {
	id   string
	conn net.Conn
	mu   sync.Mutex
	told []string // payloads
	end  error
}

// newSubscribers makes n devices and subscribes each; they hang up with the test.
func newSubscribers(ctx context.Context, t *testing.T, fleet *Fleet, tenant *Tenant, n int) (all []*subscriber) {
	t.Helper()
	var tokens []string
	for range n {
		tokens = append(tokens, unique("SUBSCRIBER"))
	}
	ids, err := tenant.NewDevices(ctx, unique("subscriber"), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range tokens {
		conn, code, err := dialMQTT(ctx, fleet.Doors().MQTT, token, 4)
		if err != nil || code != 0 {
			t.Fatalf("connect: code %d, %v", code, err)
		}
		s := &subscriber{id: ids[i], conn: conn}
		body := append(appendText([]byte{0, 1}, "v1/devices/me/attributes"), 0) // QoS 0
		if _, err := conn.Write(append([]byte{0x82, byte(len(body))}, body...)); err != nil {
			t.Fatal(err)
		}
		if kind, rest, err := readPacket(conn); err != nil || kind != 0x90 || rest[2] > 2 {
			t.Fatalf("SUBACK: % x % x %v", kind, rest, err)
		}
		if err := conn.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		var reading sync.WaitGroup
		reading.Go(s.read)
		t.Cleanup(func() {
			conn.Close()
			reading.Wait()
		})
		all = append(all, s)
	}
	return all
}

func (s *subscriber) read() {
	for {
		kind, rest, err := readPacket(s.conn)
		s.mu.Lock()
		if err != nil {
			s.end = err
			s.mu.Unlock()
			return
		}
		if kind>>4 == 3 {
			s.told = append(s.told, string(rest))
		}
		s.mu.Unlock()
	}
}

// ping keeps the connection alive.
func (s *subscriber) ping() error {
	_, err := s.conn.Write([]byte{0xc0, 0})
	return err
}

// wasTold returns nil when it was told something that contains text.
func (s *subscriber) wasTold(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.told {
		if strings.Contains(one, text) {
			return nil
		}
	}
	return fmt.Errorf("device %s was not told %s; its connection: %v", s.id, text, s.end)
}
