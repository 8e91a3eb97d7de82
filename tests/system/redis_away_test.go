//go:build fleet

package system

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFaultRedisLost (F19) kills Redis, starts it empty, and flushes it, under load and while devices connect that no
// transport has heard of: that costs them time only.
func TestFaultRedisLost(t *testing.T) {
	ctx, s := newScene(t, "F19", shared(t), FleetOptions{})
	redis := s.fleet.Parts.Redis
	transports := float64(len(s.fleet.MQTT) + len(s.fleet.HTTP) + len(s.fleet.CoAP))
	rounds := often(2, 10)
	for range rounds {
		strangers := newStrangers(ctx, t, s.tenant, 6)
		s.awaitRedis(ctx, transports)
		redis.Kill()
		s.welcome(ctx, "killed", strangers[:2])
		s.awaitRedis(ctx, 0)
		s.welcome(ctx, "away", strangers[2:4])
		if err := redis.Start(ctx); err != nil {
			t.Fatal(err)
		}
		s.awaitRedis(ctx, transports)
		s.welcome(ctx, "empty", strangers[4:5])
		if n := askRedis(ctx, t, redis.Address(), "DBSIZE"); n == 0 {
			t.Error("Redis holds nothing: it is not used")
		}
		askRedis(ctx, t, redis.Address(), "FLUSHALL")
		s.welcome(ctx, "flushed", strangers[5:])
		s.goOn(ctx)
	}
	s.judge(ctx, "Redis killed (SIGKILL), started empty, and flushed", rounds)
}

// awaitRedis waits until so many transports say that Redis answers. They notice that it does not when they ask it, as
// they do about a token that they do not know.
func (s *scene) awaitRedis(ctx context.Context, want float64) {
	s.t.Helper()
	eventually(ctx, s.t, 15*time.Second, func() error {
		for _, transport := range s.fleet.MQTT {
			if conn, _, err := dialMQTT(ctx, transport.Listen, unique("WRONG"), 4); err == nil {
				conn.Close()
			}
		}
		for _, transport := range s.fleet.HTTP {
			probeHTTP(ctx, transport.Listen, unique("WRONG"), []byte(`{"probe":1}`))
		}
		probeCoAP(ctx, s.fleet.CoAP[0].Listen, unique("WRONG"), []byte(`{"probe":1}`))
		m, err := s.fleet.Metrics(ctx)
		if err == nil && m["transport_redis_up"] != want {
			err = fmt.Errorf("%v transports say that Redis answers, want %v", m["transport_redis_up"], want)
		}
		return err
	})
}

// welcome has new devices connect on every protocol.
func (s *scene) welcome(ctx context.Context, when string, tokens []string) {
	s.t.Helper()
	began := time.Now()
	for _, token := range tokens {
		if err := Probe(ctx, s.fleet.Doors(), token).Accepted(); err != nil {
			s.t.Errorf("a new device, Redis %s: %v", when, err)
		}
	}
	s.t.Logf("Redis %s: a new device took %s for its four connections", when, (time.Since(began) / time.Duration(len(tokens))).Round(time.Millisecond))
}

// askRedis sends one command and returns the number of the answer, 0 for one that is none.
func askRedis(ctx context.Context, t *testing.T, address, command string) int {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "-") {
		t.Fatalf("%s: %q %v", command, line, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, ":")))
	if err != nil {
		return 0
	}
	return n
}
