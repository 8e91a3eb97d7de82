package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// sendRPC has a request of people run through the device's rule chain, where a node sends it. Whoever called is answered by what
// becomes of the request: at the latest when it has expired.
func (p *partition) sendRPC(ctx context.Context, m coreMessage, s *sluicepb.SendRpc) (*sluicepb.CoreAnswer, error) {
	id, err := ident.FromBytes(s.GetRpcId())
	if err != nil || id.IsZero() || m.entity.Type != ident.Device {
		return nil, fault.New(fault.Invalid, "a request without an id, or to no device")
	}
	device := ident.DeviceID{ID: m.entity.ID}
	d, err := p.device(ctx, m.tenant, device)
	if isGone(err) {
		return (rpc.Outcome{Error: rpc.NotFound}).Answer(), nil
	}
	if err != nil {
		return nil, err
	}
	if err := p.requests.ready(ctx, m.tenant, device, s.GetPersistent()); err != nil {
		return nil, err
	}
	err = p.requests.desk.Expect(rpc.Record{
		ID: id, Tenant: m.tenant, Device: device, Method: s.GetMethod(), Params: s.GetParams(), OneWay: s.GetOneWay(),
		Persistent: s.GetPersistent(), Created: millis(p.d.Now()), Expires: s.GetExpiresAtMs(), Retries: int(s.GetRetries()),
		AdditionalInfo: s.GetAdditionalInfo(),
	}, callOf(m.record))
	if err != nil {
		return refused(err)
	}
	e := event{kind: rule.RPCToDevice, metadata: p.requestMetadata(s, id), text: requestBody(s), at: p.d.Now()}
	e.of(d)
	return nil, p.raise(ctx, m.tenant, m.entity, e)
}

// callOf is what is kept of a call to answer it later: without what it said, and apart from the memory it was read into.
func callOf(r *bus.Record) bus.Record {
	call := *r
	call.Key, call.Value, call.Headers = nil, nil, make([]bus.Header, len(r.Headers))
	for i, h := range r.Headers {
		call.Headers[i] = bus.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
	}
	return call
}

// refused answers a call whose refusal is no fault of the platform.
func refused(err error) (*sluicepb.CoreAnswer, error) {
	return &sluicepb.CoreAnswer{Fault: fault.ToProto(err)}, nil
}

func (p *partition) requestMetadata(s *sluicepb.SendRpc, id ident.ID) map[string]string {
	metadata := map[string]string{
		"requestUUID": id.String(), "originServiceId": p.g.node(), "expirationTime": strconv.FormatInt(s.GetExpiresAtMs(), 10),
		"oneway": strconv.FormatBool(s.GetOneWay()), "persistent": strconv.FormatBool(s.GetPersistent()),
	}
	if s.GetRetries() >= 0 {
		metadata["retries"] = strconv.Itoa(int(s.GetRetries()))
	}
	if user, err := ident.FromBytes(s.GetUserId()); err == nil && !user.IsZero() {
		metadata["userId"], metadata["userName"] = user.String(), s.GetUserName()
	}
	return metadata
}

// requestBody is what rule chains see of a request: its params are a text of JSON.
func requestBody(s *sluicepb.SendRpc) string {
	body := struct {
		Method         string          `json:"method"`
		Params         string          `json:"params"`
		AdditionalInfo json.RawMessage `json:"additionalInfo,omitempty"`
	}{s.GetMethod(), s.GetParams(), nil}
	if info := s.GetAdditionalInfo(); json.Valid([]byte(info)) {
		body.AdditionalInfo = json.RawMessage(info)
	}
	text, _ := json.Marshal(body) // texts and valid JSON always encode
	return string(text)
}

func (p *partition) deleteRPC(ctx context.Context, m coreMessage, q *sluicepb.DeleteRpc) (*sluicepb.CoreAnswer, error) {
	id, err := ident.FromBytes(q.GetRpcId())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "delete a request", err)
	}
	device := ident.DeviceID{ID: m.entity.ID}
	if err := p.requests.ready(ctx, m.tenant, device, true); err != nil {
		return nil, err
	}
	if err := p.requests.store(ctx); err != nil { // what is said of it is stored
		return nil, err
	}
	var record rpc.Record
	err = p.steady(ctx, "read a request", func() (err error) {
		record, err = p.requests.keeper.On(ctx, m.tenant, device, id)
		return err
	})
	switch {
	case isGone(err):
		return refused(fault.New(fault.NotFound, "Requested item wasn't found!"))
	case err != nil:
		return nil, err
	}
	p.requests.desk.Remove(record)
	return &sluicepb.CoreAnswer{}, nil
}

// sentOneWay is the answer to a one-way call once the bus has the request, or does not take it.
func sentOneWay(err error) *sluicepb.CoreAnswer {
	if err != nil {
		return &sluicepb.CoreAnswer{Fault: fault.ToProto(fault.Wrap(fault.Unavailable, "send the request to the device's session", err))}
	}
	return &sluicepb.CoreAnswer{}
}

// reply answers a call now. It may be called from anywhere.
func (p *partition) reply(call bus.Record, body *sluicepb.CoreAnswer) {
	text, err := proto.Marshal(body)
	if err != nil {
		p.log.Error("answer a call", "err", err)
		return
	}
	p.d.Bus.Answer(call, text)
}

// answerSession implements rule.Options.HandOn for what a session is told. Which session, and of which process, the message's metadata says:
// that there is none of that name is the message's fault, so an error is never the platform's. The bus has tried for its deadline by then.
func (p *partition) answerSession(ctx context.Context, o rule.Onward) error {
	a := o.Answer
	value, err := proto.Marshal(&sluicepb.DeviceDownlink{
		SessionId: a.Session[:], DeviceId: o.Message.Originator.ID[:],
		Body: &sluicepb.DeviceDownlink_RpcAnswer{RpcAnswer: &sluicepb.RpcAnswer{RequestId: a.Request, Payload: a.Payload}},
	})
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	if !p.g.transports.knows(a.Node) {
		return fmt.Errorf("answer the session of %s: no transport of that name has been heard of", a.Node)
	}
	err = publish(ctx, p.d.Bus, bus.Message{Topic: responses + a.Node, Key: o.Message.Originator.ID[:], Value: value})
	if err == nil || ctx.Err() != nil || errors.Is(err, bus.ErrClosed) {
		return err
	}
	return fmt.Errorf("answer the session of %s: %s", a.Node, err.Error())
}
