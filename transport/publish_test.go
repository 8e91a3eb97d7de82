package transport_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

var overHTTP = transport.Origin{Transport: "HTTP"}

// publish puts a payload on the bus and returns what done was told.
func publish(t testing.TB, r *transporttest.Rig, d *transport.Device, payload string) error {
	t.Helper()
	told := make(chan error, 1)
	if err := r.Transport.PublishTelemetry(d, overHTTP, []byte(payload), func(err error) { told <- err }); err != nil {
		return err
	}
	return <-told
}

func mustPublish(t testing.TB, r *transporttest.Rig, d *transport.Device, payload string) {
	t.Helper()
	if err := publish(t, r, d, payload); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
}

func TestUplinkCarriesAllThatIsKnown(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	payload := []byte(`[{"ts":1000,"values":{"t":1}},{"t":2.5,"s":"\u00fc"}]`)
	told := make(chan error, 1)
	before := time.Now()
	from := transport.Origin{Transport: "MQTT", Topic: "v1/devices/me/telemetry"}
	if err := r.Transport.PublishTelemetry(d, from, payload, func(err error) { told <- err }); err != nil {
		t.Fatal(err)
	}
	clear(payload) // it is the caller's again
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	got := r.Uplinks(t, 1)[0]
	if received := time.UnixMicro(got.ReceivedAt); received.Before(before.Truncate(time.Microsecond)) || received.After(time.Now()) {
		t.Errorf("received at %v", received)
	}
	if stamp := got.Telemetry[1].Time; stamp < before.UnixMilli() || stamp > time.Now().UnixMilli() {
		t.Errorf("time of a reading without one: %d", stamp)
	}
	want := telemetry.Uplink{
		Tenant: device.Tenant, Device: device.ID, DeviceName: device.Name, DeviceType: device.Type,
		Transport: "MQTT", Topic: "v1/devices/me/telemetry",
		ID: got.ID, ReceivedAt: got.ReceivedAt,
		Telemetry: []telemetry.Record{
			{Time: 1000, OwnTime: true, Values: []telemetry.KeyValue{{Key: "t", Value: telemetry.OfLong(1)}}},
			{Time: got.Telemetry[1].Time, Values: []telemetry.KeyValue{
				{Key: "t", Value: telemetry.OfDouble(2.5)}, {Key: "s", Value: telemetry.OfString("ü")},
			}},
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b telemetry.Value) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadingsWithoutTimeAreStrictlyIncreasingOverAllProtocols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		synctest.Wait()
		// Two protocols present other credentials, and a change makes the device be read again.
		first := authenticate(t, r, token("T"))
		second := authenticate(t, r, transport.Credentials{Username: "T", HasUsername: true, ClientID: "c"})
		r.Changed(t, device, false, false)
		third := authenticate(t, r, token("T"))
		if first == third {
			t.Fatal("the device was not read again")
		}
		ids := map[telemetry.MessageID]bool{}
		for range 10 {
			for _, d := range []*transport.Device{first, second, third} {
				mustPublish(t, r, d, `{"t":1}`)
			}
		}
		last := int64(0)
		for i, u := range r.Uplinks(t, 30) {
			if ms := u.Telemetry[0].Time; ms <= last {
				t.Errorf("reading %d has time %d after %d", i, ms, last)
			}
			last, ids[u.ID] = u.Telemetry[0].Time, true
		}
		if len(ids) != 30 {
			t.Errorf("%d different message ids, want 30", len(ids))
		}
	})
}

func TestADeviceFasterThanTheClockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("FAST")
		r.Core.AddDevice("OTHER")
		d, other := authenticate(t, r, token("FAST")), authenticate(t, r, token("OTHER"))
		started, waits := time.Now(), 0
		const readings = 3000
		for range readings {
			err := publish(t, r, d, `{"t":1}`)
			for ; errors.Is(err, bus.ErrFull); err = publish(t, r, d, `{"t":1}`) {
				mustPublish(t, r, other, `{"t":1}`)
				waits++
				<-r.Transport.Room(d)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(started); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("%d readings took %v, want 1 s less than their number in ms", readings, took)
		}
		if waits > 25 {
			t.Errorf("woken %d times", waits)
		}
		mustPublish(t, r, d, `{"ts":5,"values":{"t":1}}`) // readings with their own time need no clock
	})
}

func TestWhatTheBusDidNotTakeUsesUpNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("T")
		d := authenticate(t, r, token("T"))
		r.Bus.SetFull(true)
		for range 2000 {
			if err := publish(t, r, d, `{"t":1}`); !errors.Is(err, bus.ErrFull) {
				t.Fatal(err)
			}
		}
		room := r.Transport.Room(d)
		select {
		case <-room:
			t.Error("there is room while the bus is full")
		default:
		}
		r.Bus.SetFull(false)
		<-room
		mustPublish(t, r, d, `{"t":1}`)
		if ahead := r.Uplinks(t, 1)[0].Telemetry[0].Time - time.Now().UnixMilli(); ahead != 0 {
			t.Errorf("the reading is %d ms ahead", ahead)
		}
	})
}

func TestRefusals(t *testing.T) {
	r := transporttest.Start(t, func(c *transport.Config) {
		c.UplinkMaxBytes = 500
		c.TenantLimits.Points = "10:3600"
	})
	r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	text := strings.Repeat("x", 600)
	if err := publish(t, r, d, `{"s":"`+text+`"}`); !errors.Is(err, transport.ErrTooLarge) || fault.KindOf(err) != fault.Limited {
		t.Errorf("too large: %v", err)
	}
	if err := publish(t, r, d, `nope`); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no JSON: %v", err)
	}
	if err := publish(t, r, d, `{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9}`); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	if err := publish(t, r, d, `{"1":1,"2":2}`); !errors.Is(err, transport.ErrRateLimited) || fault.KindOf(err) != fault.Limited {
		t.Errorf("over the limit: %v", err)
	}
	r.Uplinks(t, 1)
}

func TestFailuresOfTheBusAreUnavailable(t *testing.T) {
	for _, cause := range []error{bus.ErrDeadline, bus.ErrUnavailable, bus.ErrClosed} {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("T")
		d := authenticate(t, r, token("T"))
		r.Bus.Fail(cause)
		err := publish(t, r, d, `{"t":1}`)
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, cause) {
			t.Errorf("%v: %v (%v)", cause, err, fault.KindOf(err))
		}
		r.Bus.Fail(nil)
		mustPublish(t, r, d, `{"t":1}`)
	}
}

func TestDroppedKeysAreCounted(t *testing.T) {
	core := transporttest.NewCore()
	b := transporttest.NewBus(core)
	defer b.Close()
	registry := prometheus.NewRegistry()
	tr, err := transport.New(transporttest.Config(t), b, transport.Options{Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	core.AddDevice("T")
	r := &transporttest.Rig{Bus: b, Core: core, Transport: tr}
	d := authenticate(t, r, token("T"))
	mustPublish(t, r, d, `{"<script>":1,"":2,"a":3}`)
	mustPublish(t, r, d, `{"{{x}}":1}`)
	want := `
# HELP transport_dropped_keys_total Keys left out of uplinks because they cannot be stored.
# TYPE transport_dropped_keys_total counter
transport_dropped_keys_total{reason="blank"} 1
transport_dropped_keys_total{reason="too_long"} 0
transport_dropped_keys_total{reason="unsafe"} 2
# HELP transport_uplinks_total Uplinks by protocol and what became of them.
# TYPE transport_uplinks_total counter
`
	for _, transport := range []string{"COAP", "HTTP", "MQTT", "other"} {
		for _, result := range []string{"acknowledged", "empty", "full", "invalid", "limited", "too_large", "unavailable"} {
			n := "0"
			if transport == "HTTP" && (result == "acknowledged" || result == "empty") {
				n = "1"
			}
			want += `transport_uplinks_total{result="` + result + `",transport="` + transport + `"} ` + n + "\n"
		}
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "transport_dropped_keys_total", "transport_uplinks_total"); err != nil {
		t.Error(err)
	}
}

// instantBus has everything at once: what remains is the transport's own work.
type instantBus struct{ *transporttest.Bus }

func (instantBus) Publish(m bus.Message, done func(error)) error {
	if m.Topic != topics.RuleEngine || len(m.Key) != 16 || len(m.Value) == 0 {
		return bus.ErrUnavailable
	}
	done(nil)
	return nil
}

func instant(t testing.TB) *transporttest.Rig {
	t.Helper()
	core := transporttest.NewCore()
	b := transporttest.NewBus(core)
	t.Cleanup(b.Close)
	tr, err := transport.New(transporttest.Config(t), instantBus{b}, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	core.AddDevice("T")
	return &transporttest.Rig{Bus: b, Core: core, Transport: tr}
}

const reading = `{"ts":1634712287000,"values":{"temperature":21.57,"humidity":48.2,"status":"operational","uptimeSeconds":8734523}}`

func TestThePathOfAReadingDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // the race detector has pools lose things on purpose
	}
	r := instant(t)
	d := authenticate(t, r, token("T"))
	payload, done := []byte(reading), func(error) {}
	if n := testing.AllocsPerRun(1000, func() {
		if err := r.Transport.PublishTelemetry(d, overHTTP, payload, done); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations per reading", n)
	}
}

func BenchmarkPublishTelemetry(b *testing.B) {
	r := instant(b)
	d := authenticate(b, r, token("T"))
	payload, done := []byte(reading), func(error) {}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Transport.PublishTelemetry(d, overHTTP, payload, done); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishTelemetryParallel(b *testing.B) {
	r := instant(b)
	payload, done := []byte(reading), func(error) {}
	d := authenticate(b, r, token("T"))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := r.Transport.PublishTelemetry(d, overHTTP, payload, done); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkAuthenticateHit(b *testing.B) {
	r := transporttest.Start(b, nil)
	r.Core.AddDevice("T")
	c := token("T")
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Transport.Authenticate(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
}

// TestA20_UplinksGoToTheQueueOfTheDevice: the topic is that of the queue the core told.
func TestA20_UplinksGoToTheQueueOfTheDevice(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddDevice("main")
	r.Core.AddDevice("fast").Queue = "HighPriority"
	for _, name := range []string{"main", "fast"} {
		mustPublish(t, r, authenticate(t, r, token(name)), `{"t":1}`)
	}
	var got []string
	for _, m := range r.Bus.Accepted() {
		got = append(got, m.Topic)
	}
	if diff := cmp.Diff([]string{"tb.rule-engine", "tb.rule-engine.HighPriority"}, got); diff != "" {
		t.Error(diff)
	}
}
