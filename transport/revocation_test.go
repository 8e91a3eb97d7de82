package transport_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// While events do not come, what was remembered is believed no longer than a moment; what the core
// says now is, for a moment; and what changed meanwhile is heard of in the end.
func TestWhileDeafTheCacheIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		synctest.Wait()
		revoked, other := r.Core.AddDevice("T"), r.Core.AddDevice("OTHER")
		authenticate(t, r, token("T"))
		authenticate(t, r, token("OTHER"))
		time.Sleep(10 * time.Second)
		expectAsked(t, r, 2)
		hear := r.Bus.Deafen()
		r.Core.Remove(revoked)
		r.Changed(t, revoked, false, true)
		time.Sleep(time.Second)
		expectKind(t, r, token("T"), fault.Unauthenticated)
		for range 3 {
			authenticate(t, r, token("OTHER"))
		}
		expectAsked(t, r, 4)
		time.Sleep(time.Second)
		authenticate(t, r, token("OTHER"))
		expectAsked(t, r, 5)
		r.Core.Change(func() { other.Name = "renamed" })
		r.Changed(t, other, false, false)
		hear()
		if d := authenticate(t, r, token("OTHER")); d.Name != "renamed" {
			t.Errorf("name is %q", d.Name)
		}
		time.Sleep(30 * time.Second)
		authenticate(t, r, token("OTHER"))
		expectAsked(t, r, 6)
	})
}

// node is a transport of its own on a real bus.
func node(t *testing.T, address, name string, dial *bustest.Relay) *transport.Transport {
	t.Helper()
	options := bus.Options{Node: name, ReplyPrefix: topics.TransportResponses}
	if dial != nil {
		options.Dial = dial.Dial
	}
	client := bustest.Dial(t, address, options)
	tr, err := transport.New(transporttest.Config(t), client, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := tr.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return tr
}

// believes reports whether tr lets the holder of T in; an answer is not waited for long.
func believes(tr *transport.Transport) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := tr.Authenticate(ctx, token("T"))
	return err == nil, err
}

// TestRevokedEverywhereWithinASecond: two transports on one bus, and one that has lost the bus.
func TestRevokedEverywhereWithinASecond(t *testing.T) {
	address := bustest.Broker(t)
	core := transporttest.NewCore()
	device := core.AddDevice("T")
	owner := bustest.Dial(t, address, bus.Options{Node: "core", ReplyPrefix: topics.CoreResponses})
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := core.Serve(ctx, owner); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		serving.Wait()
	})
	relay := bustest.NewRelay(t)
	here, there, cut := node(t, address, "here", nil), node(t, address, "there", nil), node(t, address, "cut", relay)
	t.Cleanup(relay.Flow)
	all := []*transport.Transport{here, there, cut}
	for _, tr := range all {
		for settled := time.Now().Add(3 * time.Second); time.Now().Before(settled); time.Sleep(50 * time.Millisecond) {
			if ok, err := believes(tr); !ok && time.Until(settled) < time.Second {
				t.Fatal(err)
			}
		}
	}
	relay.Stall()
	core.Remove(device)
	announce(t, owner, device)
	revoked := time.Now()
	for i, tr := range all {
		for {
			asked := time.Now()
			ok, err := believes(tr)
			if !ok {
				t.Logf("transport %d: %v after %v", i, err, time.Since(revoked))
				break
			}
			if late := asked.Sub(revoked); late > time.Second {
				t.Fatalf("transport %d believes after %v", i, late)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	relay.Flow()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := believes(cut); fault.KindOf(err) == fault.Unauthenticated {
			break
		} else if err == nil || time.Now().After(deadline) {
			t.Fatalf("the transport that was cut off: %v", err)
		}
	}
}

// announce says on tb.events that d's credentials changed, and returns when the bus has it.
func announce(t *testing.T, b *bus.Client, d *transporttest.Device) {
	t.Helper()
	value, err := proto.Marshal(&sluicepb.EntityEvent{
		TenantId: d.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]}, CredentialsChanged: true, CredentialsIds: []string{d.Token},
	})
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	if err := b.Publish(bus.Message{Topic: topics.Events, Key: d.ID.ID[:], Value: value}, func(err error) { published <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
}

// A device that connects again and again while its credentials are being checked is asked about once,
// however the answers and the questions meet.
func TestOneCallHoweverOftenADeviceComes(t *testing.T) {
	const devices, times = 300, 20
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.CallsInFlight = 16 })
		synctest.Wait()
		for i := range devices {
			r.Core.AddDevice(fmt.Sprint("T", i))
		}
		var all sync.WaitGroup
		for range times {
			all.Go(func() {
				for i := range devices {
					if _, err := r.Transport.Authenticate(context.Background(), token(fmt.Sprint("T", i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		expectAsked(t, r, devices)
	})
}
