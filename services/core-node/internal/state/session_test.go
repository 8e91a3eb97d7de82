package state

import (
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

func session(node, transport string) Session {
	return Session{ID: ident.New(), Node: node, Transport: transport}
}

// again tells of a session that is open still.
func (b *bench) again(s Session) *Session { return b.tracker.Opened(b.state(), s, true) }

// load is another owner taking over, which reads its devices.
func (b *bench) load() {
	b.t.Helper()
	b.restart()
	d, err := Read(b.t.Context(), b, b.device)
	if err != nil {
		b.t.Fatal(err)
	}
	b.tracker.Adopt([]*Device{d})
}

// A device that reconnects elsewhere before its old session's end is told stays connected and active.
func TestALateDisconnectIsOfTheOldSession(t *testing.T) {
	for name, second := range map[string]Session{"the same transport": session("mqtt-2", "MQTT"), "another transport": session("coap-1", "COAP")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first := session("mqtt-1", "MQTT")
			b.open(b.state(), first, b.now.UnixMilli())
			b.now = b.now.Add(time.Second)
			b.open(b.state(), second, b.now.UnixMilli())
			b.now = b.now.Add(time.Second)
			b.tracker.Closed(b.state(), first.ID, b.now.UnixMilli())
			for _, e := range b.events {
				if e == "DISCONNECT_EVENT" {
					t.Error("the device is told as disconnected")
				}
			}
			if d := b.state(); d.Session == nil || d.Session.ID != second.ID || !b.stored[attrActive].Bool() {
				t.Errorf("left %+v, stored %v", d.Session, b.stored)
			}
		})
	}
}

// A new owner hears of both sessions, in any order; the one that was opened last stays.
func TestANewOwnerKeepsTheLatestSession(t *testing.T) {
	first, second := session("mqtt-1", "MQTT"), session("coap-1", "COAP")
	first.OpenedAt, second.OpenedAt = 1000, 2000
	for _, order := range [][2]Session{{first, second}, {second, first}} {
		b := newBench(t)
		b.load()
		var over []ident.ID
		for _, s := range order {
			if o := b.again(s); o != nil {
				over = append(over, o.ID)
			}
		}
		if len(over) != 1 || over[0] != first.ID {
			t.Errorf("over are %v", over)
		}
		if d := b.state(); d.Session == nil || d.Session.ID != second.ID {
			t.Errorf("left %+v", d.Session)
		}
	}
}

// A session that takes over is the later one, even if its transport's clock is behind.
func TestTakingOverDoesNotCompareClocks(t *testing.T) {
	b := newBench(t)
	first, second := session("mqtt-1", "MQTT"), session("mqtt-2", "MQTT")
	first.OpenedAt = 5000
	b.open(b.state(), first, 5000)
	if over := b.open(b.state(), second, 3000); over == nil || over.ID != first.ID {
		t.Errorf("over are %+v", over)
	}
	if over := b.again(first); over == nil || over.ID != first.ID {
		t.Errorf("the old one, announced again: over are %+v", over)
	}
}

func TestASessionOfADeadTransportIsDropped(t *testing.T) {
	b := newBench(t)
	s := session("mqtt-1", "MQTT")
	s.OpenedAt = b.now.UnixMilli()
	b.open(b.state(), s, b.now.UnixMilli())
	for range 4 {
		b.pass(time.Minute)
		b.again(s)
	}
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT")
	if d := b.state(); d.Session == nil || d.Session.ID != s.ID {
		t.Errorf("left %+v", d.Session)
	}
	for range 4 {
		b.pass(time.Minute)
	}
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT")
	if got := b.stored[attrDisconnect].Long(); got != b.now.UnixMilli() {
		t.Errorf("disconnected at %d, want %d", got, b.now.UnixMilli())
	}
	// It was only cut off from the bus.
	b.pass(time.Second)
	b.again(s)
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT", "CONNECT_EVENT")
}

// F24: whatever comes late of a session that was replaced, its end or one more announcement, the one that replaced it stays.
func TestF24WhatComesLateOfAnOldSession(t *testing.T) {
	for name, second := range map[string]Session{"the same transport": session("mqtt-2", "MQTT"), "another transport": session("coap-1", "COAP")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first := session("mqtt-1", "MQTT")
			first.OpenedAt, first.RPC, second.RPC = b.now.UnixMilli(), true, true
			b.open(b.state(), first, first.OpenedAt)
			b.now = b.now.Add(time.Second)
			if over := b.open(b.state(), second, b.now.UnixMilli()); over == nil || over.ID != first.ID {
				t.Fatalf("over is %+v", over)
			}
			for range 2 {
				if over := b.again(first); over == nil || over.ID != first.ID {
					t.Errorf("announced once more, over is %+v", over)
				}
				b.tracker.Closed(b.state(), first.ID, b.now.UnixMilli())
				if b.tracker.Subscribed(b.state(), first.ID, false) != nil {
					t.Error("the old session is subscribed")
				}
			}
			if d := b.state(); d.Session == nil || d.Session.ID != second.ID || !d.Session.RPC {
				t.Errorf("left %+v", d.Session)
			}
			b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "CONNECT_EVENT")
		})
	}
}

func TestPollsAreNoConnection(t *testing.T) {
	b := newBench(t)
	poll := func() Session {
		return Session{ID: ident.New(), Node: "http-1", Transport: "HTTP", OpenedAt: b.now.UnixMilli(), Once: true, RPC: true}
	}
	mqtt := session("mqtt-1", "MQTT")
	b.open(b.state(), mqtt, b.now.UnixMilli())
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT")
	first, second, third := poll(), poll(), poll()
	for _, s := range []Session{first, second, second, third} {
		if over := b.tracker.Opened(b.state(), s, false); over != nil {
			t.Errorf("%v is over", over)
		}
	}
	d := b.state()
	if len(d.Polls) != 2 || d.Polls[0].ID != second.ID || d.Session.ID != mqtt.ID {
		t.Fatalf("within a bound of 2 there are %+v beside %+v", d.Polls, d.Session)
	}
	b.tracker.Closed(d, second.ID, b.now.UnixMilli())
	told := d.Told(func(s *Session) bool { return s.RPC })
	if len(told) != 1 || told[0].ID != third.ID || len(d.Polls) != 0 {
		t.Errorf("told are %+v, left %+v", told, d.Polls)
	}
	b.tracker.Closed(d, mqtt.ID, b.now.UnixMilli())
	b.tracker.Opened(d, poll(), false)
	b.pass(4 * time.Minute) // its transport died
	if len(d.Polls) != 0 {
		t.Errorf("left %+v", d.Polls)
	}
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT")
}

// The owner and the transport died together: nobody is left to tell of the session's end.
func TestANewOwnerFindsWhoIsGone(t *testing.T) {
	b := newBench(t)
	s := session("mqtt-1", "MQTT")
	b.open(b.state(), s, b.now.UnixMilli())
	b.load()
	b.pass(time.Minute)
	s.OpenedAt = b.state().connect
	b.again(s) // this time only the owner died
	for range 3 {
		b.pass(time.Minute)
		b.again(s)
	}
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT")
	b.load()
	for range 4 {
		b.pass(time.Minute)
	}
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT")
	b.pass(time.Hour)
	if b.tracker.Len() != 0 {
		t.Error("it is kept in memory for ever")
	}
}

// endedElsewhere is an owner that heard at end of the end of a session only an earlier one knew.
func endedElsewhere(t *testing.T) (b *bench, end int64) {
	t.Helper()
	b = newBench(t)
	first := session("mqtt-1", "MQTT")
	b.open(b.state(), first, b.now.UnixMilli())
	b.load()
	b.now = b.now.Add(time.Second)
	end = b.now.UnixMilli()
	b.tracker.Closed(b.state(), first.ID, end)
	return b, end
}

// A session that ends while its device changes owner: the new one, which never heard of it, notes the end, unless another is
// announced.
func TestASessionThatAnEarlierOwnerKnewEnds(t *testing.T) {
	for name, second := range map[string]bool{"the only one": false, "another follows": true} {
		t.Run(name, func(t *testing.T) {
			b, end := endedElsewhere(t)
			b.want("CONNECT_EVENT", "ACTIVITY_EVENT")
			if second {
				b.now = b.now.Add(time.Second)
				b.again(session("mqtt-2", "MQTT"))
			}
			b.pass(6 * time.Second)
			if second {
				b.want("CONNECT_EVENT", "ACTIVITY_EVENT")
				return
			}
			b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT")
			if at := b.stored[attrDisconnect].Long(); at != end {
				t.Errorf("disconnected at %d, want %d", at, end)
			}
		})
	}
}

// The owner that heard of such an end gives the device away before it has waited for another session: the end is not forgotten.
func TestAnEndOutlivesTheOwnerThatHeardOfIt(t *testing.T) {
	b, end := endedElsewhere(t)
	b.tracker.Leave()
	b.load()
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT")
	if at := b.stored[attrDisconnect].Long(); at != end {
		t.Errorf("disconnected at %d, want %d", at, end)
	}
	b.now = b.now.Add(time.Second)
	b.again(session("mqtt-2", "MQTT")) // there was another after all
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT", "DISCONNECT_EVENT", "CONNECT_EVENT")
	if at := b.stored[attrConnect].Long(); at <= end {
		t.Errorf("connected again at %d, not after %d", at, end)
	}
}

// Who leaves says nothing of devices that are connected, or whose sessions nobody has ended.
func TestLeavingEndsNoSession(t *testing.T) {
	b := newBench(t)
	b.open(b.state(), session("mqtt-1", "MQTT"), b.now.UnixMilli())
	b.tracker.Leave()
	b.load()
	b.pass(time.Second)
	b.tracker.Leave()
	b.want("CONNECT_EVENT", "ACTIVITY_EVENT")
}
