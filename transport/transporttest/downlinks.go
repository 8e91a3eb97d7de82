package transporttest

import (
	"maps"
	"testing"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"

	"google.golang.org/protobuf/proto"
)

// Report waits for a message to the core of which find says that it is the one, and returns it.
func (r *Rig) Report(t testing.TB, find func(*sluicepb.CoreMessage) bool) *sluicepb.CoreMessage {
	t.Helper()
	var found *sluicepb.CoreMessage
	var err error
	r.await(t, func() bool {
		var reports []*sluicepb.CoreMessage
		if reports, err = r.Bus.Reports(); err != nil {
			return true
		}
		for _, m := range reports {
			if find(m) {
				found = m
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Session waits for an open session of d and returns its id; rpc: for one that takes requests, polls included.
func (r *Rig) Session(t testing.TB, d *Device, rpc bool) ident.ID {
	t.Helper()
	var session ident.ID
	r.await(t, func() bool {
		session = r.Bus.session(d, rpc)
		return !session.IsZero()
	})
	return session
}

// session returns d's newest open session, as far as the core was told.
func (b *Bus) session(d *Device, rpc bool) ident.ID {
	reports, err := b.Reports()
	if err != nil {
		return ident.ID{}
	}
	b.mu.Lock()
	delivered := maps.Clone(b.delivered)
	b.mu.Unlock()
	type state struct{ rpc, attributes bool }
	open := map[ident.ID]state{}
	var order []ident.ID
	for _, m := range reports {
		if string(m.GetEntity().GetId()) != string(d.ID.ID[:]) {
			continue
		}
		switch body := m.GetBody().(type) {
		case *sluicepb.CoreMessage_SessionOpened:
			id := ident.ID(body.SessionOpened.GetSessionId())
			if body.SessionOpened.GetOnce() && delivered[string(id[:])] {
				continue
			}
			open[id] = state{body.SessionOpened.GetRpc(), !body.SessionOpened.GetOnce() || body.SessionOpened.GetAttributes()}
			order = append(order, id)
		case *sluicepb.CoreMessage_SessionSubscribed:
			id := ident.ID(body.SessionSubscribed.GetSessionId())
			if s, found := open[id]; found {
				s.rpc = body.SessionSubscribed.GetRpc()
				open[id] = s
			}
		case *sluicepb.CoreMessage_SessionClosed:
			delete(open, ident.ID(body.SessionClosed.GetSessionId()))
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		if s, found := open[order[i]]; found && (rpc && s.rpc || !rpc && s.attributes) {
			return order[i]
		}
	}
	return ident.ID{}
}

// SendRPC sends a request to d's session that takes requests, once there is one. RpcId is made when it is empty.
func (r *Rig) SendRPC(t testing.TB, d *Device, request *sluicepb.RpcRequest) {
	t.Helper()
	if len(request.GetRpcId()) == 0 {
		id := ident.New()
		request.RpcId = id[:]
	}
	r.downlink(t, d, true, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_RpcRequest{RpcRequest: request}})
}

// UpdateAttributes tells d's session of changed and deleted shared attributes, once there is one.
func (r *Rig) UpdateAttributes(t testing.TB, d *Device, updated []telemetry.KeyValue, deleted ...string) {
	t.Helper()
	r.downlink(t, d, false, &sluicepb.DeviceDownlink{Body: &sluicepb.DeviceDownlink_AttributesUpdated{
		AttributesUpdated: &sluicepb.AttributesUpdated{Updated: telemetry.ToProto(updated), Deleted: deleted},
	}})
}

func (r *Rig) downlink(t testing.TB, d *Device, rpc bool, downlink *sluicepb.DeviceDownlink) {
	t.Helper()
	session := r.Session(t, d, rpc)
	downlink.SessionId, downlink.DeviceId = session[:], d.ID.ID[:]
	if err := r.Bus.Deliver(downlink); err != nil {
		t.Fatal(err)
	}
}

// Call waits for the n-th request of devices to their rule chains, from 0, and returns it.
func (r *Rig) Call(t testing.TB, n int) *sluicepb.RuleMessage {
	t.Helper()
	var calls []*sluicepb.RuleMessage
	var err error
	r.await(t, func() bool {
		calls, err = r.Bus.Calls()
		return err != nil || len(calls) > n
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls[n]
}

// Calls returns the rule messages taken on so far, in order.
func (b *Bus) Calls() ([]*sluicepb.RuleMessage, error) {
	var calls []*sluicepb.RuleMessage
	for _, m := range b.Accepted() {
		if !isRuleMessage(m.Headers) {
			continue
		}
		call := &sluicepb.RuleMessage{}
		if err := proto.Unmarshal(m.Value, call); err != nil {
			return nil, err
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// AnswerCall answers a request of a device in its rule chain's place.
func (r *Rig) AnswerCall(t testing.TB, call *sluicepb.RuleMessage, payload string) {
	t.Helper()
	session, err := ident.Parse(call.GetMetadata()["sessionId"])
	if err != nil {
		t.Fatal(err)
	}
	if node := topics.TransportResponses + call.GetMetadata()["serviceId"]; node != r.Bus.ReplyTopic() {
		t.Errorf("the answer goes to %s", node)
	}
	err = r.Bus.Deliver(&sluicepb.DeviceDownlink{
		SessionId: session[:], DeviceId: call.GetOriginator().GetId(),
		Body: &sluicepb.DeviceDownlink_RpcAnswer{RpcAnswer: &sluicepb.RpcAnswer{Payload: payload}},
	})
	if err != nil {
		t.Fatal(err)
	}
}
