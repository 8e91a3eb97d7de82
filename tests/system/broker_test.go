//go:build fleet

package system

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// TestFaultBrokerKilled (F1: devices on MQTT, F2: on HTTP and CoAP) kills the Kafka broker and starts it again on its
// data; at full length one of three brokers.
func TestFaultBrokerKilled(t *testing.T) {
	parts, what := shared(t), "the one Kafka broker killed (SIGKILL)"
	if full() {
		parts, what = threeBrokers(t, parts), "a Kafka broker of three killed (SIGKILL)"
	}
	ctx, s := newScene(t, "F1", parts, FleetOptions{})
	sets := []*devices{s.devices.of("MQTT"), s.devices.of("HTTP", "CoAP")}
	gaps := []func() time.Duration{sets[0].watchGap(ctx), sets[1].watchGap(ctx)}
	kills := often(1, 10)
	s.rate(ctx, 2*time.Second)
	for i := range kills {
		broker := parts.Kafka.Brokers[i%len(parts.Kafka.Brokers)]
		broker.Kill()
		if code := broker.Wait(); code != -1 {
			t.Errorf("%s ended with %d, not by a signal", broker.Name, code)
		}
		if len(parts.Kafka.Brokers) == 1 {
			assertStands(ctx, t, s.devices)
		}
		if err := broker.Start(ctx); err != nil {
			t.Fatal(err)
		}
		ready := time.Now()
		s.goOn(ctx)
		t.Logf("the broker was ready after %s, all went on %s later", broker.Took().Round(10*time.Millisecond), time.Since(ready).Round(10*time.Millisecond))
		s.goOn(ctx) // also those whose partitions the broker led
	}
	s.gap()
	worst := []time.Duration{gaps[0](), gaps[1]()}
	s.rest()
	s.add("F1", what+", under MQTT", kills, sets[0].check(ctx, t, s.tenant), worst[0])
	s.add("F2", what+", under HTTP and CoAP", kills, sets[1].check(ctx, t, s.tenant), worst[1])
	awaitFates(ctx, t, s.fleet)
}

// assertStands holds that nothing at all is acknowledged while the broker is away.
func assertStands(ctx context.Context, t *testing.T, d *devices) {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // answers that were on their way
	before := d.acknowledged()
	time.Sleep(time.Second)
	if now := d.acknowledged(); now != before {
		t.Errorf("%d readings acknowledged without a broker", now-before)
	}
	if ctx.Err() != nil {
		t.Fatal(ctx.Err())
	}
}

// threeBrokers are parts with a Kafka of three brokers beside the others, which end with the test.
func threeBrokers(t *testing.T, others *Parts) *Parts {
	t.Helper()
	kafka, err := part.NewKafka(t.Context(), t.TempDir(), part.KafkaOptions{Brokers: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, broker := range kafka.Brokers {
			broker.Kill()
		}
	})
	if err := kafka.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	root := strings.ReplaceAll(unique("three"), "-", "")
	return &Parts{Kafka: kafka, ZooKeeper: others.ZooKeeper, Cassandra: others.Cassandra, Redis: others.Redis, Root: root}
}

// of are the devices of these protocols.
func (d *devices) of(protocols ...string) *devices {
	some := &devices{}
	for i, protocol := range d.protocol {
		if slices.Contains(protocols, protocol) {
			some.firmware, some.ids, some.protocol = append(some.firmware, d.firmware[i]), append(some.ids, d.ids[i]), append(some.protocol, protocol)
		}
	}
	return some
}
