package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

func TestEachDeviceIsThereBeforeTheAcknowledgement(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.stalled["A"] = make(chan struct{})
		connect := b.take(topic.GatewayConnect, `{"device":"A","type":"meter"}`)
		b.expect(connect, "under way")
		b.fake.release("A", nil)
		b.expect(connect, "accepted")
		b.at(func(f *fake) {
			if !slices.Equal(f.found, []string{"A:meter"}) || f.opened != 1 || !f.sessions["A"].rpc {
				t.Errorf("asked for %v, %d sessions, requests %v", f.found, f.opened, f.sessions["A"].rpc)
			}
		})
	})
}

func TestConcurrentMentionsShareOneCreation(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.stalled["A"] = make(chan struct{})
		var all []int
		for i := range 5 {
			all = append(all, b.take(topic.GatewayTelemetry, fmt.Sprintf(`{"A":[{"t":%d}]}`, i)))
		}
		b.fake.release("A", nil)
		for _, n := range all {
			b.expect(n, "accepted")
		}
		b.at(func(f *fake) {
			if len(f.found) != 1 || f.opened != 1 {
				t.Errorf("asked %d times, %d sessions", len(f.found), f.opened)
			}
			want := []string{`A=[{"t":0}]`, `A=[{"t":1}]`, `A=[{"t":2}]`, `A=[{"t":3}]`, `A=[{"t":4}]`}
			if diff := cmp.Diff(want, f.taken); diff != "" {
				t.Error(diff)
			}
		})
	})
}

func TestSlowDevicesDoNotHoldUpOthers(t *testing.T) {
	for _, stuck := range []struct {
		name string
		make func(*fake)
	}{
		{"not found yet", func(f *fake) { f.stalled["A"] = make(chan struct{}) }},
		{"no room on the bus", func(f *fake) { f.full["A"] = make(chan struct{}) }},
	} {
		t.Run(stuck.name, func(t *testing.T) {
			start(t, nil, func(b *bench) {
				b.expect(b.take(topic.GatewayConnect, `{"device":"B"}`), "accepted")
				stuck.make(b.fake)
				both := b.take(topic.GatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}]}`)
				other := b.take(topic.GatewayTelemetry, `{"B":[{"t":2}],"C":[{"t":2}]}`)
				more := b.take(topic.GatewayAttributes, `{"A":{"k":3}}`)
				b.expect(other, "accepted")
				b.expect(both, "under way")
				b.expect(more, "under way")
				b.at(func(f *fake) {
					if want := []string{`B=[{"t":1}]`, `B=[{"t":2}]`, `C=[{"t":2}]`}; !slices.Equal(f.taken, want) {
						t.Errorf("published %v, want %v", f.taken, want)
					}
					f.taken = nil
				})
				b.fake.release("A", nil)
				b.expect(both, "accepted")
				b.expect(more, "accepted")
				b.at(func(f *fake) {
					if want := []string{`A=[{"t":1}]`, `A={"k":3}`}; !slices.Equal(f.taken, want) {
						t.Errorf("published %v, want %v", f.taken, want)
					}
				})
			})
		})
	}
}

func TestAcknowledgementWaitsForEveryDevice(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.held["A"] = []func(error){}
		n := b.take(topic.GatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}]}`)
		b.expect(n, "under way")
		b.fake.release("A", nil)
		b.expect(n, "accepted")
	})
}

func TestOneFateForPartialFailures(t *testing.T) {
	away := fault.New(fault.Unavailable, "away")
	for _, c := range []struct {
		name, payload, want string
		set                 func(*fake)
	}{
		{"one malformed", `{"A":[5],"B":[{"t":1}]}`, "malformed", nil},
		{"one malformed and one the bus did not take", `{"A":[5],"B":[{"t":1}]}`, "unavailable", func(f *fake) { f.failing["B"] = away }},
		{"one limited and one malformed", `{"A":[5],"B":[{"t":1}]}`, "limited", func(f *fake) { f.limited["B"] = true }},
		{"one too many", `{"A":[{"t":1}],"B":[{"t":1}]}`, "too_many", func(f *fake) { f.refused["A"] = transport.ErrTooManyDevices }},
		{"one refused", `{"A":[{"t":1}],"B":[{"t":1}]}`, "refused", func(f *fake) { f.refused["A"] = fault.New(fault.Invalid, "no such name") }},
		{"one that cannot be asked for", `{"A":[{"t":1}],"B":[{"t":1}]}`, "unavailable", func(f *fake) { f.refused["A"] = away }},
		{"one with bad metadata", `{"A":[{"metadata":1}],"B":[{"t":1}]}`, "malformed", nil},
		{"a name that is too long", `{"` + strings.Repeat("n", 2000) + `":[{"t":1}],"B":[{"t":1}]}`, "malformed", nil},
		{"an empty array", `{"A":[]}`, "accepted", nil},
		{"nothing of any device", `{"A":{"t":1}}`, "unusable", nil},
		{"no JSON", `{"A":[{"t":1}]`, "malformed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			start(t, nil, func(b *bench) {
				if c.set != nil {
					c.set(b.fake)
				}
				b.expect(b.take(topic.GatewayTelemetry, c.payload), c.want)
				b.at(func(f *fake) {
					if strings.Contains(c.payload, "B") && !slices.Contains(f.taken, `B=[{"t":1}]`) && !f.limited["B"] {
						t.Errorf("B's share was not published: %v", f.taken)
					}
				})
			})
		})
	}
}

func TestRefusedDevicesAreNoticed(t *testing.T) {
	const limited, other = `v1/gateway/disconnect {"device":"A","reason":150}`, `v1/gateway/disconnect {"device":"B","reason":128}`
	start(t, nil, func(b *bench) {
		b.fake.limited["A"] = true
		b.fake.refused["B"] = transport.ErrTooManyDevices
		b.expect(b.take(topic.GatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}]}`), "limited")
		slices.Sort(b.sent)
		if diff := cmp.Diff([]string{limited, other}, b.sent); diff != "" {
			t.Error(diff)
		}
		for range 10 {
			b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`)
		}
		if b.result(1); len(b.sent) != testBounds.Notices {
			t.Errorf("%d notices in a second, want %d", len(b.sent), testBounds.Notices)
		}
		time.Sleep(time.Second)
		b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`)
		if b.result(1); len(b.sent) != testBounds.Notices+1 {
			t.Errorf("%d notices after another second", len(b.sent))
		}
	})
}

func TestNoNoticesBeforeMQTT5(t *testing.T) {
	start(t, func(_ *Bounds, p *Peer) { p.Notices = false }, func(b *bench) {
		b.fake.limited["A"] = true
		b.expect(b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`), "limited")
		if len(b.sent) > 0 {
			t.Errorf("sent %v", b.sent)
		}
	})
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		action        topic.Action
		payload, want string
	}{
		{topic.GatewayConnect, `{"device":"A"}`, "accepted"},
		{topic.GatewayConnect, `{"device":"A","type":null}`, "accepted"},
		{topic.GatewayConnect, `{"device":""}`, "unusable"},
		{topic.GatewayConnect, `{"type":"x"}`, "unusable"},
		{topic.GatewayConnect, `{"device":5}`, "unusable"},
		{topic.GatewayConnect, `[]`, "unusable"},
		{topic.GatewayConnect, `{"device":"A"`, "malformed"},
		{topic.GatewayConnect, ``, "malformed"},
		{topic.GatewayDisconnect, `{"device":"never seen"}`, "accepted"},
		{topic.GatewayDisconnect, `{}`, "unusable"},
		{topic.GatewayReplyRPC, `{"device":"A","id":5,"data":{"ok":true}}`, "accepted"},
		{topic.GatewayReplyRPC, `{"device":"A","id":5}`, "unusable"},
		{topic.GatewayReplyRPC, `{"device":"A","data":1}`, "unusable"},
		{topic.GatewayAttributeRequest, `{"id":1,"device":"A","client":true,"key":"k"}`, "answered"},
		{topic.GatewayAttributeRequest, `{"id":1,"device":"A","client":true,"keys":["k"]}`, "answered"},
		{topic.GatewayAttributeRequest, `{"id":1,"device":"A","key":"k"}`, "unusable"},
		{topic.GatewayAttributeRequest, `{"id":1,"device":"A","client":true}`, "unusable"},
		{topic.GatewayAttributeRequest, `{"device":"A","client":true,"key":"k"}`, "unusable"},
		{topic.GatewayClaim, `{"A":{"secretKey":"s"},"B":{}}`, "accepted"},
		{topic.GatewayAttributes, `{"A":5}`, "unusable"},
		{topic.Gateway, `{}`, "unknown"},
	} {
		t.Run(c.payload, func(t *testing.T) {
			start(t, nil, func(b *bench) { b.expect(b.take(c.action, c.payload), c.want) })
		})
	}
}

func TestDisconnectClosesInTurn(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.stalled["A"] = make(chan struct{})
		first := b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`)
		gone := b.take(topic.GatewayDisconnect, `{"device":"A"}`)
		again := b.take(topic.GatewayTelemetry, `{"A":[{"t":2}]}`)
		b.expect(gone, "under way")
		b.fake.release("A", nil)
		for _, n := range []int{first, gone, again} {
			b.expect(n, "accepted")
		}
		b.at(func(f *fake) {
			if f.opened != 2 || f.closed != 1 {
				t.Errorf("%d opened, %d closed", f.opened, f.closed)
			}
		})
		b.expect(b.take(topic.GatewayDisconnect, `{"device":"A"}`), "accepted")
		if len(b.children) > 0 {
			t.Error("a disconnected device is remembered")
		}
	})
}

func TestDownlinks(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.expect(b.take(topic.GatewayConnect, `{"device":"A \"1\""}`), "accepted")
		down := b.fake.sessions[`A "1"`].downlinks
		down.AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}, []string{"gone"})
		down.RPC(transport.RPCRequest{ID: 5, Method: "m", Params: `{"p":1}`})
		down.RPC(transport.RPCRequest{ID: 6, Method: "n"})
		want := []string{
			`v1/gateway/attributes {"device":"A \"1\"","data":{"k":1}}`,
			`v1/gateway/attributes {"device":"A \"1\"","data":{"deleted":["gone"]}}`,
			`v1/gateway/rpc {"device":"A \"1\"","data":{"id":5,"method":"m","params":{"p":1}}}`,
			`v1/gateway/rpc {"device":"A \"1\"","data":{"id":6,"method":"n","params":null}}`,
		}
		if diff := cmp.Diff(want, b.sent); diff != "" {
			t.Error(diff)
		}
		b.expect(b.take(topic.GatewayDisconnect, `{"device":"A \"1\""}`), "accepted")
		down.Close(sluicepb.CloseReason_TAKEN_OVER) // late
		down.AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(2)}}, nil)
		down.RPC(transport.RPCRequest{ID: 7, Method: "m"})
		if len(b.sent) != len(want) {
			t.Errorf("sent to a device that is gone: %v", b.sent[len(want):])
		}
	})
}

func TestAttributeRequests(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.shared = []telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}, {Key: "l", Value: telemetry.OfString("x")}}
		for _, request := range []string{
			`{"id":1,"device":"A","client":false,"key":"k"}`,
			`{"id":2,"device":"A","client":false,"keys":["k"]}`,
			`{"id":3,"device":"A","client":false,"keys":["k","l"]}`,
			`{"id":4,"device":"A","client":false,"keys":["k","none"]}`,
			`{"id":5,"device":"A","client":false,"key":"none"}`,
			`{"id":6,"device":"A","client":true,"keys":["k","l"]}`,
		} {
			b.expect(b.take(topic.GatewayAttributeRequest, request), "answered")
		}
		const to = "v1/gateway/attributes/response "
		want := []string{
			to + `{"id":1,"device":"A","value":1}`,
			to + `{"id":2,"device":"A","value":1}`,
			to + `{"id":3,"device":"A","values":{"k":1,"l":"x"}}`,
			to + `{"id":4,"device":"A","values":{"k":1}}`,
			to + `{"id":5,"device":"A"}`,
			to + `{"id":6,"device":"A"}`,
		}
		if diff := cmp.Diff(want, b.sent); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReadsAreBoundedAndOneForEachDevice(t *testing.T) {
	start(t, func(b *Bounds, _ *Peer) { b.QueuedBytes = 1 << 20 }, func(b *bench) {
		b.fake.readStall = make(chan struct{})
		for i := range 20 {
			b.take(topic.GatewayAttributeRequest, fmt.Sprintf(`{"id":1,"device":"D%d","client":false,"key":"k"}`, i%10))
		}
		b.at(func(f *fake) {
			if f.reading != testBounds.Reads {
				t.Errorf("%d reads at a time", f.reading)
			}
		})
		close(b.fake.readStall)
		for n := 1; n <= 20; n++ {
			b.expect(n, "answered")
		}
		if len(b.sent) != 20 || b.fake.mostReads != testBounds.Reads {
			t.Errorf("%d answers, %d at a time", len(b.sent), b.fake.mostReads)
		}
	})
}

func TestTakenOverIsDroppedSilently(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.expect(b.take(topic.GatewayConnect, `{"device":"A"}`), "accepted")
		b.fake.sessions["A"].downlinks.Close(sluicepb.CloseReason_TAKEN_OVER)
		b.expect(b.take(topic.GatewayReplyRPC, `{"device":"A","id":3,"data":{"ok":true}}`), "accepted")
		b.at(func(f *fake) {
			if want := []string{`A 3 {"ok":true} true`}; !slices.Equal(f.replies, want) || f.opened != 1 {
				t.Errorf("replies %v, %d sessions", f.replies, f.opened)
			}
		})
		b.expect(b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`), "accepted")
		b.at(func(f *fake) {
			if f.opened != 2 {
				t.Errorf("%d sessions, want the device taken back", f.opened)
			}
		})
		if len(b.sent) > 0 {
			t.Errorf("sent %v", b.sent)
		}
	})
}

func TestDeletedIsCreatedAgain(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.expect(b.take(topic.GatewayConnect, `{"device":"A"}`), "accepted")
		b.fake.sessions["A"].downlinks.Close(sluicepb.CloseReason_DEVICE_DELETED)
		if len(b.children) > 0 {
			t.Error("a deleted device is remembered")
		}
		b.expect(b.take(topic.GatewayReplyRPC, `{"device":"A","id":3,"data":1}`), "accepted")
		b.at(func(f *fake) {
			if len(f.found) != 2 {
				t.Errorf("asked for %v", f.found)
			}
		})
	})
}

func TestDevicesAreBounded(t *testing.T) {
	start(t, func(b *Bounds, _ *Peer) { b.Devices = 2 }, func(b *bench) {
		b.expect(b.take(topic.GatewayTelemetry, `{"A":[{"t":1}],"B":[{"t":1}],"C":[{"t":1}]}`), "too_many")
		b.expect(b.take(topic.GatewayDisconnect, `{"device":"A"}`), "accepted")
		b.expect(b.take(topic.GatewayConnect, `{"device":"C"}`), "accepted")
		b.fake.sessions["B"].downlinks.Close(sluicepb.CloseReason_TAKEN_OVER)
		b.expect(b.take(topic.GatewayConnect, `{"device":"D"}`), "accepted")
	})
}

func TestQueuedBytesAreBounded(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.stalled["A"] = make(chan struct{})
		taken := 0
		for b.Take(topic.GatewayTelemetry, "v1/gateway/telemetry", []byte(`{"A":[{"t":1}]}`), receipt{b, 1000 + taken}) {
			taken++
		}
		if most := testBounds.QueuedBytes/partOverhead + 1; taken > most || taken < most/2 {
			t.Errorf("%d messages were taken on, want at most %d", taken, most)
		}
		if b.resumes > 0 {
			t.Error("resumed too early")
		}
		b.fake.release("A", nil)
		synctest.Wait()
		if b.resumes != 1 {
			t.Errorf("resumed %d times", b.resumes)
		}
		for i := range taken {
			b.expect(1000+i, "accepted")
		}
	})
}

func TestOpeningsAreBounded(t *testing.T) {
	start(t, nil, func(b *bench) {
		stalled := make(chan struct{})
		for i := range 10 {
			b.fake.stalled[fmt.Sprint("D", i)] = stalled
		}
		var payload strings.Builder
		for i := range 10 {
			fmt.Fprintf(&payload, `,"D%d":[{"t":1}]`, i)
		}
		n := b.take(topic.GatewayTelemetry, "{"+payload.String()[1:]+"}")
		b.at(func(f *fake) {
			if len(f.found) != testBounds.Openings {
				t.Errorf("%d devices are looked for at a time", len(f.found))
			}
		})
		close(stalled)
		b.expect(n, "accepted")
	})
}

func TestStuckOpeningEndsInTime(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.stalled["A"] = make(chan struct{})
		n := b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`)
		time.Sleep(testBounds.OpenTimeout + time.Second)
		b.expect(n, "unavailable")
	})
}

func TestCloseClosesAllSoManyASecond(t *testing.T) {
	start(t, func(b *Bounds, _ *Peer) { b.Devices = 10_000 }, func(b *bench) {
		var all []int
		for i := range 3000 {
			all = append(all, b.take(topic.GatewayConnect, fmt.Sprintf(`{"device":"D%d"}`, i)))
			if i%10 == 0 {
				synctest.Wait()
			}
		}
		for _, n := range all {
			b.expect(n, "accepted")
		}
		before := time.Now()
		b.Gateway.Close()
		if time.Since(before) > 0 {
			t.Error("Close waited")
		}
		time.Sleep(time.Second)
		b.at(func(f *fake) {
			if f.closed < 900 || f.closed > 1100 {
				t.Errorf("%d sessions closed in a second, want %d", f.closed, testBounds.Closings)
			}
		})
		time.Sleep(3 * time.Second)
		b.at(func(f *fake) {
			if f.closed != 3000 {
				t.Errorf("%d sessions closed", f.closed)
			}
		})
	})
}

func TestCloseLetsWhatWasTakenGoOn(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.fake.stalled["A"] = make(chan struct{})
		n := b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`)
		synctest.Wait()
		b.Gateway.Close()
		b.fake.release("A", nil)
		b.expect(n, "accepted")
		time.Sleep(time.Second)
		b.at(func(f *fake) {
			if f.closed != 1 {
				t.Errorf("%d sessions closed", f.closed)
			}
		})
	})
}

func TestCloseGivesUpInTheEnd(t *testing.T) {
	start(t, nil, func(b *bench) {
		b.expect(b.take(topic.GatewayConnect, `{"device":"A"}`), "accepted")
		b.fake.full["A"] = make(chan struct{})
		n := b.take(topic.GatewayTelemetry, `{"A":[{"t":1}]}`)
		b.Gateway.Close()
		b.expect(n, "under way")
		time.Sleep(testBounds.OpenTimeout + time.Second)
		b.expect(n, "unavailable")
		b.at(func(f *fake) {
			if f.closed != 1 {
				t.Errorf("%d sessions closed", f.closed)
			}
		})
	})
}

func TestGatewaysActivityIsItsDevices(t *testing.T) {
	for _, overwrite := range []bool{true, false} {
		t.Run(fmt.Sprint(overwrite), func(t *testing.T) {
			start(t, func(_ *Bounds, p *Peer) { p.OverwriteActivity = overwrite }, func(b *bench) {
				b.expect(b.take(topic.GatewayConnect, `{"device":"A"}`), "accepted")
				for range 100 {
					b.Active()
				}
				time.Sleep(testBounds.ActivityEvery + time.Second)
				want := 0
				if overwrite {
					want = 1
				}
				b.at(func(f *fake) {
					if got := f.sessions["A"].active; got != want {
						t.Errorf("told %d times", got)
					}
				})
			})
		})
	}
}

func TestLatenciesBecomeReadingsOfTheGateway(t *testing.T) {
	start(t, nil, func(b *bench) {
		now := time.Now().UnixMilli()
		element := func(connector string, received, published int64) string {
			return fmt.Sprintf(`{"t":1,"metadata":{"connector":%q,"receivedTs":%d,"publishedTs":%d}}`, connector, now-received, now-published)
		}
		b.expect(b.take(topic.GatewayTelemetry, `{"A":[`+element("modbus", 30, 10)+`,`+element("modbus", 50, 20)+`],"B":[`+
			element("opc", 5, 5)+`,`+element("one too many", 5, 5)+`]}`), "accepted")
		b.at(func(f *fake) { f.taken = nil })
		time.Sleep(testBounds.MetricsEvery + time.Second)
		b.at(func(f *fake) {
			want := []string{`G={"gatewayMetrics":{"modbus":{"avgGwLatency":25,"minGwLatency":20,"maxGwLatency":30,` +
				`"avgTransportLatency":15,"minTransportLatency":10,"maxTransportLatency":20},` +
				`"opc":{"avgGwLatency":0,"minGwLatency":0,"maxGwLatency":0,"avgTransportLatency":5,"minTransportLatency":5,"maxTransportLatency":5}}}`}
			if diff := cmp.Diff(want, f.taken); diff != "" {
				t.Error(diff)
			}
			f.taken = nil
		})
		time.Sleep(2 * testBounds.MetricsEvery)
		b.at(func(f *fake) {
			if len(f.taken) > 0 {
				t.Errorf("told without anything to tell: %v", f.taken)
			}
		})
		b.take(topic.GatewayTelemetry, `{"A":[`+element("modbus", 30, 10)+`]}`)
		b.Gateway.Close()
		b.at(func(f *fake) {
			if last := f.taken[len(f.taken)-1]; !strings.HasPrefix(last, `G={"gatewayMetrics"`) {
				t.Errorf("the last minute is not told of: %v", f.taken)
			}
		})
	})
}
