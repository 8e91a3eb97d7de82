package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// subscribeBytes is a SUBSCRIBE of a client before MQTT 5.
func subscribeBytes(filter string, qos byte) []byte {
	body := append([]byte{0, 9, byte(len(filter) >> 8), byte(len(filter))}, filter...)
	return append([]byte{0x82, byte(len(body) + 1)}, append(body, qos)...)
}

// subscribed returns a session of a client before MQTT 5 that takes requests at that QoS.
func subscribed(t testing.TB, qos byte) *connection {
	t.Helper()
	c := acceptedSession(t, packet.V311)
	c.feed(t.Context(), subscribeBytes("v1/devices/me/rpc/request/+", qos))
	c.written = nil
	return c
}

// requestTo is a persistent request.
func requestTo(id int32) transport.RPCRequest {
	return transport.RPCRequest{
		ID: id, Request: ident.ID{byte(id), 9}, Method: "m", Params: "{}", Persistent: true,
		Acknowledge: 5 * time.Second, Expires: time.Now().Add(time.Hour),
	}
}

// sentTo takes what was written and returns the messages among it: "topic id", with ! before those sent again.
func (c *connection) sentTo(t testing.TB) (messages []string) {
	t.Helper()
	c.take()
	for b := c.written; len(b) > 0; {
		h, err := packet.ReadHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if h.Type == packet.PUBLISH {
			p, err := packet.ParsePublish(c.version, h.Flags, b[h.Size:h.Size+h.Length])
			if err != nil {
				t.Fatal(err)
			}
			mark := ""
			if p.Duplicate {
				mark = "!"
			}
			messages = append(messages, fmt.Sprintf("%s%s %d", mark, p.Topic[strings.LastIndexByte(string(p.Topic), '/')+1:], p.ID))
		}
		b = b[h.Size+h.Length:]
	}
	c.written = nil
	return messages
}

func (c *connection) acknowledge(t testing.TB, id uint16, reason packet.Reason) {
	t.Helper()
	c.feed(t.Context(), packet.AppendAck(nil, c.version, packet.PUBACK, id, reason))
}

func (c *connection) reported(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(c.platform.reports, want) {
		t.Errorf("reported %q, want %q", c.platform.reports, want)
	}
	c.platform.reports = nil
}

func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// TestM65RequestsAreReported: how far a request got is told once it is written, and once the client acknowledged it.
func TestM65RequestsAreReported(t *testing.T) {
	c := subscribed(t, 1)
	c.RPC(requestTo(7))
	c.reported(t) // nothing is written yet
	same(t, c.sentTo(t), "7 1")
	c.reported(t, "SENT 7")
	c.acknowledge(t, 5, 0) // nobody's
	c.reported(t)
	c.acknowledge(t, 1, 0)
	c.reported(t, "DELIVERED 7")
	if c.outbox != nil {
		t.Error("an outbox is kept that holds nothing")
	}
}

// TestAnsweredAtOnce: of a request that is not persistent its answer is report enough, if it came together with the PUBACK.
func TestAnsweredAtOnce(t *testing.T) {
	answer := publishTo(packet.V311, "v1/devices/me/rpc/response/7", 3, "{}")
	ack := func(id uint16) []byte { return packet.AppendAck(nil, packet.V311, packet.PUBACK, id, 0) }
	for _, one := range []struct {
		name       string
		persistent bool
		fed        [][]byte
		want       []string
	}{
		{"together", false, [][]byte{append(ack(1), answer...)}, nil},
		{"answered first", false, [][]byte{append(append([]byte(nil), answer...), ack(1)...)}, []string{"DELIVERED 7"}},
		{"apart", false, [][]byte{ack(1), answer}, []string{"DELIVERED 7"}},
		{"another's answer", false, [][]byte{append(append(ack(1), ack(2)...), answer...)}, []string{"DELIVERED 8"}},
		{"persistent", true, [][]byte{append(ack(1), answer...)}, []string{"SENT 7", "SENT 8", "DELIVERED 7"}},
	} {
		c := subscribed(t, 1)
		for _, id := range []int32{7, 8} {
			r := requestTo(id)
			if r.Persistent = one.persistent; !r.Persistent {
				r.Acknowledge = 0
			}
			c.RPC(r)
		}
		c.sentTo(t)
		if !one.persistent {
			c.platform.reports = nil // the transport leaves SENT out
		}
		for _, b := range one.fed {
			c.feed(t.Context(), b)
		}
		if t.Run(one.name, func(t *testing.T) { c.reported(t, one.want...) }); c.arrived != nil {
			t.Errorf("%s: a request is held that the platform knows of", one.name)
		}
	}
}

// TestM66RequestsAtQoS0: with the writing all is told.
func TestM66RequestsAtQoS0(t *testing.T) {
	c := subscribed(t, 0)
	c.RPC(requestTo(7))
	same(t, c.sentTo(t), "7 0")
	c.reported(t, "DELIVERED 7")
}

// TestM65RequestsTimeOut: what is not acknowledged in time is told, and sent again when the platform asks for it.
func TestM65RequestsTimeOut(t *testing.T) {
	c := subscribed(t, 1)
	c.RPC(requestTo(7))
	c.sentTo(t)
	c.reported(t, "SENT 7")
	for range 5 {
		c.hub.Advance()
		c.Expire()
	}
	c.reported(t)
	c.hub.Advance()
	c.Expire()
	c.reported(t, "TIMED_OUT 7")
	again := requestTo(7)
	again.Again = true
	c.RPC(again)
	same(t, c.sentTo(t), "!7 1")
	c.reported(t, "SENT 7")
	c.acknowledge(t, 1, 0)
	c.reported(t, "DELIVERED 7")
	c.RPC(again) // it is not in the client's hands any more
	same(t, c.sentTo(t), "!7 2")
}

// TestMQTT5SendsNothingAgain: what is in the client's hands stays there, and its time begins anew (MQTT-4.4.0-1).
func TestMQTT5SendsNothingAgain(t *testing.T) {
	c := acceptedSession(t, packet.V5)
	c.rpc, c.subscribed, c.atLeastOnce = true, 1<<4, 1<<4
	c.RPC(requestTo(7))
	same(t, c.sentTo(t), "7 1")
	wait := func() {
		for range 6 {
			c.hub.Advance()
			c.Expire()
		}
	}
	wait()
	again := requestTo(7)
	again.Again = true
	c.RPC(again)
	same(t, c.sentTo(t))
	wait()
	c.reported(t, "SENT 7", "TIMED_OUT 7", "TIMED_OUT 7")
	c.RPC(again)
	c.acknowledge(t, 1, 0)
	c.reported(t, "DELIVERED 7")
}

// TestLateAcknowledgement: a request that timed out and is acknowledged after all has been delivered.
func TestLateAcknowledgement(t *testing.T) {
	c := subscribed(t, 1)
	c.RPC(requestTo(7))
	c.sentTo(t)
	for range 10 {
		c.hub.Advance()
		c.Expire()
	}
	c.acknowledge(t, 1, 0)
	c.reported(t, "SENT 7", "TIMED_OUT 7", "DELIVERED 7")
}

// TestRefusedByTheClient: PUBACK with a failure is none.
func TestRefusedByTheClient(t *testing.T) {
	c := acceptedSession(t, packet.V5)
	c.rpc, c.subscribed, c.atLeastOnce = true, 1<<4, 1<<4
	c.RPC(requestTo(7))
	c.sentTo(t)
	c.acknowledge(t, 1, packet.QuotaExceeded)
	c.reported(t, "SENT 7", "TIMED_OUT 7")
}

// TestWindowOfMessages: beyond the client's window messages wait in order, and beyond what may wait requests are given back.
func TestWindowOfMessages(t *testing.T) {
	c := subscribed(t, 1)
	for id := range int32(9) {
		r := requestTo(id)
		r.Persistent = id != 8
		c.RPC(r)
	}
	same(t, c.sentTo(t), "0 1", "1 2", "2 3")
	c.reported(t, "TIMED_OUT 7", "UNSENT 8", "SENT 0", "SENT 1", "SENT 2")
	again := requestTo(4)
	again.Again = true
	c.RPC(again) // goes on waiting
	c.acknowledge(t, 2, 0)
	same(t, c.sentTo(t), "3 4")
	c.acknowledge(t, 1, 0)
	c.acknowledge(t, 3, 0)
	c.acknowledge(t, 4, 0)
	same(t, c.sentTo(t), "!4 5", "5 6", "6 7")
	for id := range uint16(3) {
		c.acknowledge(t, id+5, 0)
	}
	if c.outbox != nil {
		t.Errorf("left %+v", c.outbox)
	}
}

// TestWindowOfUpdates: a client that acknowledges nothing is sent no more, and in the end nothing waits for it any longer.
func TestWindowOfUpdates(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.feed(t.Context(), subscribeBytes("v2/a", 1))
	for range testRules.Unacknowledged + testRules.Waiting {
		c.AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}, nil)
	}
	if got := c.sentTo(t); len(got) != testRules.Unacknowledged || c.wire.stops.Load() > 0 {
		t.Fatalf("sent %q, %d stops", got, c.wire.stops.Load())
	}
	c.AttributesUpdated([]telemetry.KeyValue{{Key: "k", Value: telemetry.OfLong(1)}}, nil)
	if c.wire.stops.Load() != 1 || c.Cause() != CauseSlow {
		t.Errorf("%d stops by %v", c.wire.stops.Load(), c.Cause())
	}
}

// TestExpiredWhileWaiting: what nobody waits for any more is not sent.
func TestExpiredWhileWaiting(t *testing.T) {
	c := subscribed(t, 1)
	for id := range int32(3) {
		c.RPC(requestTo(id))
	}
	late := requestTo(3)
	late.Expires = time.Now()
	c.RPC(late)
	c.RPC(requestTo(4))
	same(t, c.sentTo(t), "0 1", "1 2", "2 3")
	c.acknowledge(t, 1, 0)
	same(t, c.sentTo(t), "4 4")
}

// TestBurst: requests larger than what may be written at a time wait for the writing, not for the client's end.
func TestBurst(t *testing.T) {
	c := subscribed(t, 0)
	for id := range int32(4) {
		r := requestTo(id)
		r.Params = `"` + strings.Repeat("x", testRules.OutputBytes/3) + `"`
		c.RPC(r)
	}
	same(t, c.sentTo(t), "0 0", "1 0", "2 0", "3 0")
	if c.wire.stops.Load() > 0 {
		t.Errorf("closed by %v", c.Cause())
	}
}

// TestUnsentRequests: what the client cannot take, or did not ask for, is told.
func TestUnsentRequests(t *testing.T) {
	c := subscribed(t, 1)
	c.packetMaximum = 40
	c.RPC(requestTo(7))
	same(t, c.sentTo(t))
	c.reported(t, "UNSENT 7")
	c.feed(t.Context(), append([]byte{0xa2, 31, 0, 3, 0, 27}, "v1/devices/me/rpc/request/+"...))
	c.RPC(requestTo(8))
	c.reported(t, "TIMED_OUT 8")
	same(t, c.sentTo(t))
}

// TestNothingIsReportedOfWhatWasNotWritten: a connection that broke has delivered nothing.
func TestNothingIsReportedOfWhatWasNotWritten(t *testing.T) {
	c := subscribed(t, 0)
	c.RPC(requestTo(7))
	o := c.Take(true)
	c.Break(CauseLost)
	c.Wrote(o)
	c.reported(t)
}

// TestNotDelivered: the platform ends a session whose client does not acknowledge.
func TestNotDelivered(t *testing.T) {
	c := acceptedSession(t, packet.V5)
	c.Close(sluicepb.CloseReason_RPC_NOT_DELIVERED)
	c.take()
	if want := packet.AppendDisconnect(nil, packet.AdministrativeAction); string(c.written) != string(want) || c.Cause() != CauseUndelivered {
		t.Errorf("% x by %v", c.written, c.Cause())
	}
}
