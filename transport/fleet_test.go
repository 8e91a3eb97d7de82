package transport_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// soon is how long what happens at once may take on a busy machine.
const soon = 20 * time.Second

// fleet is a Redis and what its transports have in common.
type fleet struct {
	*transporttest.Rig // without Redis; it only holds the bus and the core
	redis              *miniredis.Miniredis
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	return &fleet{transporttest.Start(t, nil), miniredis.RunT(t)}
}

// member is one transport of a fleet, and what it counts.
type member struct {
	*transporttest.Rig
	metrics *prometheus.Registry
}

// join starts a transport of the fleet and waits until it looks into Redis.
func (f *fleet) join(t *testing.T, b bus.Bus, change func(*transport.Config)) *member {
	t.Helper()
	if b == nil {
		b = f.Bus
	}
	m := &member{metrics: prometheus.NewRegistry()}
	m.Rig = f.Join(t, b, transport.Options{Metrics: m.metrics}, func(c *transport.Config) {
		c.Redis.URL, c.Redis.Key, c.Redis.Timeout = "redis://"+f.redis.Addr(), "a key", 5*time.Second
		if change != nil {
			change(c)
		}
	})
	for i := 0; m.looked("miss") == 0; i++ {
		expectKind(t, m.Rig, token(fmt.Sprint("nobody's", i)), fault.Unauthenticated)
		time.Sleep(time.Millisecond)
	}
	return m
}

// looked returns how many look-ups in Redis ended in result.
func (m *member) looked(result string) int { return m.counted("transport_redis_lookups_total", result) }

func (m *member) counted(name, result string) int {
	families, err := m.metrics.Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetLabel()[0].GetValue() == result {
				return int(metric.GetCounter().GetValue())
			}
		}
	}
	return 0
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(began) > soon {
			t.Fatalf("waited for: %s", what)
		}
	}
}

// verdicts returns the names of all verdicts in Redis.
func (f *fleet) verdicts() (names []string) {
	for _, key := range f.redis.Keys() {
		if strings.Contains(key, ":c:") {
			names = append(names, key)
		}
	}
	return names
}

// left authenticates c at m and waits until the verdict is in Redis, the only one; it returns its name and value.
func (f *fleet) left(t *testing.T, m *member, c transport.Credentials) (name, value string) {
	t.Helper()
	authenticate(t, m.Rig, c)
	await(t, "a verdict in Redis", func() bool { return len(f.verdicts()) == 1 })
	name = f.verdicts()[0]
	value, err := f.redis.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, value
}

// put makes Redis hold value for a minute, whatever it holds now.
func (f *fleet) put(t *testing.T, name, value string) {
	t.Helper()
	if err := f.redis.Set(name, value); err != nil {
		t.Fatal(err)
	}
	f.redis.SetTTL(name, time.Minute)
}

func TestOneTransportAsksForAll(t *testing.T) {
	f := newFleet(t)
	device := f.Core.AddDevice("SECRET")
	first, second := f.join(t, nil, nil), f.join(t, nil, nil)
	name, value := f.left(t, first, token("SECRET"))
	asked := f.Core.Asked()
	if d := authenticate(t, second.Rig, token("SECRET")); d.ID != device.ID || d.Name != device.Name {
		t.Errorf("the second learned of %+v", d)
	}
	expectAsked(t, f.Rig, asked)
	if second.looked("hit") != 1 {
		t.Error("it is not counted as a hit")
	}
	if strings.Contains(name+value, "SECRET") || strings.Contains(value, device.Name) {
		t.Error("what is in Redis can be read there")
	}
	if left := f.redis.TTL(name); left <= 0 || left > time.Minute {
		t.Errorf("it stays for %v", left)
	}
	// Another key, another fleet: nothing of this one is found or opens.
	stranger := f.join(t, nil, func(c *transport.Config) { c.Redis.Key = "another" })
	authenticate(t, stranger.Rig, token("SECRET"))
	if stranger.looked("hit") != 0 {
		t.Error("a verdict is read without its key")
	}
}

func TestWrongCredentialsAreNotShared(t *testing.T) {
	f := newFleet(t)
	m := f.join(t, nil, nil)
	expectKind(t, m.Rig, token("WRONG"), fault.Unauthenticated)
	f.Core.AddDevice("RIGHT")
	f.left(t, m, token("RIGHT")) // the only one
}

// What was in Redis before a change, and whatever comes back there after it, is believed nowhere:
// not by who asked, not by who knew the device, not by who never heard of it, not by who starts later.
func TestRevokedStaysRevokedWhateverRedisSays(t *testing.T) {
	f := newFleet(t)
	device := f.Core.AddDevice("T")
	first, second, third := f.join(t, nil, nil), f.join(t, nil, nil), f.join(t, nil, nil)
	name, value := f.left(t, first, token("T"))
	authenticate(t, second.Rig, token("T"))
	f.Core.Remove(device)
	f.Changed(t, device, true, false)
	f.redis.FlushAll()
	f.put(t, name, value)
	later := f.join(t, nil, nil)
	for i, m := range []*member{first, second, third, later} {
		expectKind(t, m.Rig, token("T"), fault.Unauthenticated)
		if m.looked("stale") != 1 {
			t.Errorf("transport %d did not see that it is out of date", i)
		}
	}
}

// lagging is a Bus whose events arrive when they are let through.
type lagging struct {
	bus.Bus
	gate sync.RWMutex
}

func (l *lagging) Tail(ctx context.Context, topic string, ready chan<- struct{}, handle func(bus.Record)) error {
	events := make(chan bus.Record, 100)
	var passing sync.WaitGroup
	defer passing.Wait()
	defer close(events)
	passing.Go(func() {
		for r := range events {
			l.gate.RLock()
			handle(r)
			l.gate.RUnlock()
		}
	})
	return l.Bus.Tail(ctx, topic, ready, func(r bus.Record) {
		select {
		case <-ctx.Done():
		case events <- r:
		}
	})
}

// An answer that is old when it reaches Redis, since the one who asked has not heard of the change yet.
func TestALateAnswerInRedisIsNotBelieved(t *testing.T) {
	f := newFleet(t)
	device := f.Core.AddDevice("T")
	slow := &lagging{Bus: f.Bus}
	first, second := f.join(t, slow, nil), f.join(t, nil, nil)
	_, value := f.left(t, first, token("T"))
	name := f.verdicts()[0]
	f.redis.Del(name)
	slow.gate.Lock()
	f.Core.Remove(device)
	f.Changed(t, device, false, true)
	// It is put there only now, after every trace of the change was lost.
	f.redis.FlushAll()
	f.put(t, name, value)
	expectKind(t, second.Rig, token("T"), fault.Unauthenticated)
	slow.gate.Unlock()
	await(t, "the first to hear of it", func() bool {
		_, err := first.Transport.Authenticate(context.Background(), token("T"))
		return fault.KindOf(err) == fault.Unauthenticated
	})
}

// Who cannot hear of changes cannot tell whether what is in Redis still holds.
func TestWhileDeafRedisIsNotBelieved(t *testing.T) {
	f := newFleet(t)
	device := f.Core.AddDevice("T")
	first, second := f.join(t, nil, nil), f.join(t, nil, nil)
	name, value := f.left(t, first, token("T"))
	defer f.Bus.Deafen()()
	time.Sleep(time.Second)
	f.Core.Remove(device)
	f.Changed(t, device, false, true)
	f.put(t, name, value)
	expectKind(t, second.Rig, token("T"), fault.Unauthenticated)
	if second.looked("unready") == 0 {
		t.Error("it is not counted")
	}
}

func TestChangesThatAreForgottenMakeVerdictsOld(t *testing.T) {
	f := newFleet(t)
	f.Core.AddDevice("T")
	others := []*transporttest.Device{f.Core.AddDevice("A"), f.Core.AddDevice("B"), f.Core.AddDevice("C")}
	m := f.join(t, nil, nil)
	name, value := f.left(t, m, token("T"))
	few := func(c *transport.Config) { c.Redis.Events = 2 }
	forgetful := f.join(t, nil, few)
	for _, d := range others {
		f.Changed(t, d, false, false)
	}
	starting, remembering := f.join(t, nil, few), f.join(t, nil, nil)
	for _, m := range []*member{forgetful, starting} {
		f.put(t, name, value)
		asked := f.Core.Asked()
		authenticate(t, m.Rig, token("T"))
		if m.looked("stale") != 1 || f.Core.Asked() != asked+1 {
			t.Error("a verdict is believed that is older than what is remembered")
		}
		await(t, "the new verdict to be left", func() bool { // or it could come in place of what is put there next
			left, err := f.redis.Get(name)
			return err == nil && left != value
		})
	}
	f.put(t, name, value)
	authenticate(t, remembering.Rig, token("T"))
	if remembering.looked("hit") != 1 {
		t.Error("changes of other devices make a verdict old")
	}
}

// Offsets begin again in a topic that was made anew: what is in Redis is of another life.
func TestVerdictsEndWithTheTopic(t *testing.T) {
	f := newFleet(t)
	device := f.Core.AddDevice("T")
	running := f.join(t, nil, nil)
	for range 3 {
		f.Changed(t, f.Core.AddDevice("X"), false, false)
	}
	f.left(t, running, token("T"))
	f.Bus.Renew()
	f.Core.Remove(device)
	m := f.join(t, nil, nil)
	expectKind(t, m.Rig, token("T"), fault.Unauthenticated)
	if m.looked("hit")+m.looked("stale") != 0 {
		t.Error("a verdict of another topic is looked at")
	}
	// Who ran all along notices with the first event that comes again.
	f.Changed(t, device, true, false)
	await(t, "the running one to notice", func() bool {
		_, err := running.Transport.Authenticate(context.Background(), token("T"))
		return fault.KindOf(err) == fault.Unauthenticated
	})
}

func TestAVerdictIsNotBelievedLongerThanItStays(t *testing.T) {
	f := newFleet(t)
	f.Core.AddDevice("T")
	first, second := f.join(t, nil, nil), f.join(t, nil, nil)
	name, _ := f.left(t, first, token("T"))
	f.redis.SetTTL(name, 50*time.Millisecond)
	authenticate(t, second.Rig, token("T"))
	f.redis.Del(name)
	time.Sleep(51 * time.Millisecond)
	asked := f.Core.Asked()
	authenticate(t, second.Rig, token("T"))
	expectAsked(t, f.Rig, asked+1)
}

func TestWhatWasAlteredInRedisIsNotBelieved(t *testing.T) {
	f := newFleet(t)
	f.Core.AddDevice("T")
	first := f.join(t, nil, nil)
	name, value := f.left(t, first, token("T"))
	altered := []byte(value)
	altered[len(altered)/2] ^= 1
	for _, wrong := range []string{string(altered), value[:20], "x", ""} {
		m := f.join(t, nil, nil)
		f.put(t, name, wrong)
		asked := f.Core.Asked()
		authenticate(t, m.Rig, token("T"))
		expectAsked(t, f.Rig, asked+1)
	}
	if err := testutil.GatherAndCompare(first.metrics, strings.NewReader("# HELP transport_redis_up 1 while Redis answers; while it does not, it is left alone.\n# TYPE transport_redis_up gauge\ntransport_redis_up 1\n"), "transport_redis_up"); err != nil {
		t.Error(err)
	}
}

// A Redis that is not there, or refuses, costs one failure, and is used again when it is back.
func TestWithoutRedisAllGoesOn(t *testing.T) {
	f := newFleet(t)
	for i := range 30 {
		f.Core.AddDevice(fmt.Sprint("T", i))
	}
	m := f.join(t, nil, func(c *transport.Config) { c.Redis.Pause = time.Millisecond })
	f.redis.Close()
	for i := range 10 {
		authenticate(t, m.Rig, token(fmt.Sprint("T", i)))
	}
	if failed := m.looked("error"); failed > 1 {
		t.Errorf("%d look-ups waited for a Redis that is gone", failed)
	}
	if err := f.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	i := 10
	await(t, "Redis to be used again", func() bool {
		before := m.looked("miss")
		m.Transport.Authenticate(context.Background(), token(fmt.Sprint("nobody's again", i)))
		i++
		return m.looked("miss") > before
	})
	f.redis.SetError("LOADING")
	for i := 10; i < 30; i++ {
		authenticate(t, m.Rig, token(fmt.Sprint("T", i)))
	}
	f.redis.SetError("")
}

func TestRatesHoldOverAllTransports(t *testing.T) {
	f := newFleet(t)
	device := f.Core.AddDevice("T")
	other := f.Core.AddDevice("OTHER")
	f.Core.Change(func() { other.Tenant = device.Tenant })
	const capacity = 200
	limited := func(c *transport.Config) { c.TenantLimits.Telemetry = fmt.Sprint(capacity, ":3600") }
	first, second := f.join(t, nil, limited), f.join(t, nil, limited)
	send := func(m *member, d *transport.Device) bool {
		return m.Transport.PublishTelemetry(d, transport.Origin{Transport: "MQTT"}, []byte(`{"a":1}`), func(error) {}) == nil
	}
	a, b := authenticate(t, first.Rig, token("T")), authenticate(t, second.Rig, token("OTHER"))
	for range capacity - 20 {
		if !send(first, a) {
			t.Fatal("refused within the rate")
		}
	}
	await(t, "the first to tell", func() bool { return first.counted("transport_redis_rates_total", "ok") > 0 })
	time.Sleep(rateRound) // the rest of it
	passed := 0
	await(t, "the second to be refused", func() bool {
		if !send(second, b) {
			return true
		}
		passed++
		time.Sleep(rateRound)
		return false
	})
	// 20 were left, a few more refilled; what passes before the first answer is the slack.
	if passed > 30 {
		t.Errorf("%d passed at the second after %d of %d at the first", passed, capacity-20, capacity)
	}
}

// rateRound is longer than it takes until rates are told.
const rateRound = 150 * time.Millisecond

func TestWithoutRedisEachLimitsAlone(t *testing.T) {
	f := newFleet(t)
	f.Core.AddDevice("T")
	limited := func(c *transport.Config) { c.DeviceLimits.Points, c.TenantLimits.Telemetry = "12:3600", "5:3600" }
	members := []*member{f.join(t, nil, limited), f.join(t, nil, limited)}
	f.redis.Close()
	for _, m := range members {
		d := authenticate(t, m.Rig, token("T"))
		passed := 0
		for range 10 {
			if err := m.Transport.PublishTelemetry(d, transport.Origin{Transport: "MQTT"}, []byte(`{"a":1,"b":2}`), func(error) {}); err == nil {
				passed++
			}
			time.Sleep(rateRound / 10)
		}
		if passed != 5 {
			t.Errorf("%d passed, want 5", passed)
		}
	}
}
