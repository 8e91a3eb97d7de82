package session

import (
	"context"
	"strconv"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// RPC implements transport.Downlinks.
func (s *Session) RPC(r transport.RPCRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &carried{RPCRequest: r, device: s.device, session: s.id}
	if !s.rpc {
		if r.Persistent {
			s.giveBack(c) // the client unsubscribed meanwhile; it may come again
		}
		return
	}
	body, err := s.encodeRequest(r, s.rpcStyle)
	if err != nil {
		s.unencodable(err)
		s.settle(c, unsent)
		return
	}
	name := topic.RPCRequest(s.rpcStyle, strconv.Itoa(int(r.ID)))
	s.deliver(delivery{topic: name, payload: body, qos: s.qosOf(topic.RPCFilter(s.rpcStyle)), request: c})
}

// replyRPC takes on what the device answered a request with.
func (s *Session) replyRPC(r topic.Route, from transport.Origin, data []byte, done func(error)) error {
	id, ok := topic.ParseRequestID(r.ID)
	if !ok {
		return errRequestID
	}
	err := s.hub.platform.ReplyRPC(s.device, id, from, data, done)
	if err == nil {
		s.repliedTo(id)
	}
	return err
}

// callRPC takes the device's own request on; the answer goes back in its style, whether or not the client subscribed.
func (s *Session) callRPC(ctx context.Context, r topic.Route, from transport.Origin, data []byte, done func(error)) error {
	id, ok := topic.ParseRequestID(r.ID)
	if !ok {
		return errRequestID
	}
	style, text := r.Style, string(r.ID)
	return s.hub.platform.CallRPC(s.whileOpen(ctx), s.device, id, from, data, done, func(answer string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, err := s.encodeAnswer(id, answer, style)
		if err != nil {
			s.unencodable(err)
			return
		}
		s.send(topic.RPCAnswersFilter(style), topic.RPCAnswer(style, text), body)
	})
}

// life is a context that ends with the session. Sessions have one once they wait for something.
type life struct {
	context.Context
	end context.CancelFunc
}

func (s *Session) whileOpen(ctx context.Context) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		ctx, end := context.WithCancel(ctx)
		s.life = &life{ctx, end}
		if s.closing {
			end()
		}
	}
	return s.life
}

// subscribeRPC tells the platform whether the client takes requests, after it was told so itself.
func (s *Session) subscribeRPC(before bool) {
	s.mu.Lock()
	now := s.rpc
	s.mu.Unlock()
	if now != before {
		s.handle.SubscribeRPC(now)
	}
}
