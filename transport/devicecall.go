package transport

import (
	"context"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/transport/payload"
)

// deviceCalls are the requests of devices to their rule chains that wait for the answer, by the session id that the answer is sent to.
type deviceCalls struct {
	t *Transport

	mu      sync.Mutex
	pending map[ident.ID]*deviceCall
}

// deviceCall is one request. Its fields are guarded by deviceCalls.mu.
type deviceCall struct {
	state  *deviceState
	answer func(string)
	timer  *time.Timer
	leave  func() bool // stops watching the context
	// acknowledged: the bus has the request; answered: payload came before that.
	acknowledged, answered bool
	payload                string
}

// The refusals of a device that asks too much at a time.
var (
	errManyCalls  = fault.New(fault.Limited, "too many requests of devices wait for answers")
	errCallMethod = fault.New(fault.Invalid, `a request needs a "method"`)
)

// timedOut is what a device is answered in its rule chain's place.
const timedOut = `{"error":"timeout"}`

// CallRPC implements RPCs.
func (t *Transport) CallRPC(ctx context.Context, d *Device, id int32, from Origin, request []byte, done func(error), answer func(payload string)) error {
	const kind = "rpc_call"
	body, err := t.readCall(d, from.Format, request)
	if err != nil {
		return t.refused(kind, err)
	}
	session := ident.New()
	value, err := proto.Marshal(t.callMessage(d, session, id, body))
	if err != nil {
		return t.refused(kind, fault.Wrap(fault.Invalid, "encode request", err))
	}
	if !t.calls.open(ctx, session, d, answer) {
		t.metrics.requests.WithLabelValues(kind, "limited").Inc()
		return errManyCalls
	}
	message := bus.Message{
		Topic: d.topic, Key: d.ID.ID[:], Value: value,
		Headers: []bus.Header{
			{Key: topics.KindHeader, Value: []byte(topics.KindRuleMessage)}, {Key: topics.TransportHeader, Value: []byte(t.sessions.node)},
		},
	}
	err = t.takeOn(d, kind, message, func(err error) {
		if err != nil {
			t.calls.forget(session)
		}
		done(err)
		t.calls.acknowledge(session)
	})
	if err != nil {
		t.calls.forget(session)
	}
	return err
}

// readCall checks {"method":…,"params":…} and returns it as rule chains are given it; params are null when there are none.
func (t *Transport) readCall(d *Device, format Format, request []byte) (body []byte, err error) {
	f := t.drafts.Get().(*draft)
	defer t.drafts.Put(f)
	method, params := "", "null"
	if request, err = d.message(format, request, payload.ReadCall); err != nil {
		return nil, err
	}
	err = f.decoder.Object(request, func(name string, m payload.Member) error {
		switch name {
		case "method":
			if method = m.Text; !m.IsText {
				return errCallMethod
			}
		case "params":
			params = m.JSON
		}
		return nil
	})
	if err == nil && method == "" {
		err = errCallMethod
	}
	body = payload.AppendText([]byte(`{"method":`), method)
	return append(append(append(body, `,"params":`...), params...), '}'), err
}

func (t *Transport) callMessage(d *Device, session ident.ID, id int32, body []byte) *sluicepb.RuleMessage {
	now := time.Now()
	message := t.ids.next()
	return &sluicepb.RuleMessage{
		Id: message[:], TenantId: d.Tenant.ID[:], CustomerId: d.Customer.ID[:],
		Originator: &sluicepb.EntityId{Type: sluicepb.EntityType_DEVICE, Id: d.ID.ID[:]},
		Type:       "TO_SERVER_RPC_REQUEST", TimeMs: now.UnixMilli(), ReceivedAtUs: now.UnixMicro(), Data: body, QueueName: d.queue,
		Metadata: map[string]string{
			"deviceName": d.Name, "deviceType": d.Type,
			"requestId": strconv.Itoa(int(id)), "serviceId": t.sessions.node, "sessionId": session.String(),
		},
	}
}

// open lets an answer to session come; false when the device, or all together, wait for too many. Nobody waits once ctx ends.
func (c *deviceCalls) open(ctx context.Context, session ident.ID, d *Device, answer func(string)) bool {
	call := &deviceCall{state: d.state, answer: answer}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) >= c.t.config.RPCs || int(d.state.calls.Load()) >= c.t.config.RPCsOfDevice {
		return false
	}
	d.state.calls.Add(1)
	c.pending[session] = call
	call.timer = time.AfterFunc(c.t.config.RPCTimeout, func() { c.resolve(session, timedOut) })
	call.leave = context.AfterFunc(ctx, func() { c.forget(session) })
	return true
}

// take removes a call. Only under the lock.
func (c *deviceCalls) take(session ident.ID) *deviceCall {
	call := c.pending[session]
	if call == nil {
		return nil
	}
	delete(c.pending, session)
	call.state.calls.Add(-1)
	call.timer.Stop()
	call.leave()
	return call
}

// forget ends a call nobody waits for.
func (c *deviceCalls) forget(session ident.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(session)
}

// acknowledge notes that the device knows the bus to have its request; an answer that was faster follows.
func (c *deviceCalls) acknowledge(session ident.ID) {
	c.mu.Lock()
	call := c.pending[session]
	if call == nil {
		c.mu.Unlock()
		return
	}
	call.acknowledged = true
	if !call.answered {
		c.mu.Unlock()
		return
	}
	c.take(session)
	c.mu.Unlock()
	call.answer(call.payload)
}

// resolve answers a call; false when nobody waits for it. The first answer counts.
func (c *deviceCalls) resolve(session ident.ID, text string) bool {
	c.mu.Lock()
	call := c.pending[session]
	if call == nil || call.answered {
		c.mu.Unlock()
		return false
	}
	if !call.acknowledged {
		call.answered, call.payload = true, text
		c.mu.Unlock()
		return true
	}
	c.take(session)
	c.mu.Unlock()
	call.answer(text)
	return true
}

// answered hands over what a rule chain answered.
func (c *deviceCalls) answered(session ident.ID, a *sluicepb.RpcAnswer) bool {
	text := a.GetPayload()
	if e := a.GetError(); e != "" {
		text = string(append(payload.AppendText([]byte(`{"error":`), e), '}'))
	}
	return c.resolve(session, text)
}

// close answers all that still wait: nothing comes any more.
func (c *deviceCalls) close() {
	c.mu.Lock()
	sessions := make([]ident.ID, 0, len(c.pending))
	for session := range c.pending {
		sessions = append(sessions, session)
	}
	c.mu.Unlock()
	for _, session := range sessions {
		c.resolve(session, timedOut)
	}
}
