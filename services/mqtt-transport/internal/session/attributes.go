package session

import (
	"bytes"
	"context"
	"log/slog"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

var errRequest = fault.New(fault.Invalid, "attribute request is malformed")

// requestAttributes takes a request for attributes on: the PUBLISH is acknowledged, and the answer
// follows when the platform gave it. It is sent whether or not the client subscribed.
func (s *Session) requestAttributes(ctx context.Context, m, before *message, r topic.Route, data []byte) Verdict {
	id, ok := topic.ParseRequestID(r.ID)
	query, err := parseQuery(data)
	if !ok || err != nil {
		return s.conclude(m, s.outcomeOf(errRequest, m.qos))
	}
	if !s.beginRead() {
		s.withdraw(m, before)
		return Pause
	}
	s.finish(m, outcome{fate: Answered})
	s.hub.reads.Go(func() { s.readAttributes(ctx, query, r.Style, id) })
	return More
}

// beginRead counts a request being answered; false when there are too many.
func (s *Session) beginRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(s.reads) >= s.hub.rules.AttributeReads {
		s.paused = true
		return false
	}
	s.reads++
	return true
}

// readAttributes asks the platform and answers. Without an answer of the platform there is none:
// the request was acknowledged, and devices ask again.
func (s *Session) readAttributes(ctx context.Context, q transport.AttributeQuery, style topic.Style, id string) {
	attributes, err := s.hub.platform.ReadAttributes(ctx, s.device, q)
	if err != nil {
		s.hub.metrics.unread.Inc()
		s.hub.log.Debug("attributes could not be read", slog.Any("err", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads--
	if err == nil && !strings.HasPrefix(id, "-") {
		answer := payload.AppendAttributes(nil, attributes.Client, attributes.Shared)
		s.send(topic.AnswersFilter(style), topic.AttributeAnswer(style, id), answer)
	}
	s.settled()
}

// parseQuery reads {"clientKeys":"a,b","sharedKeys":"c"}. Without either every attribute is meant.
func parseQuery(data []byte) (q transport.AttributeQuery, err error) {
	var request struct {
		ClientKeys *string `json:"clientKeys"`
		SharedKeys *string `json:"sharedKeys"`
	}
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return q, errRequest
	}
	if err := json.Unmarshal(data, &request); err != nil {
		return q, err
	}
	if request.ClientKeys == nil && request.SharedKeys == nil {
		return transport.AttributeQuery{AllClient: true, AllShared: true}, nil
	}
	if request.ClientKeys != nil {
		q.ClientKeys = strings.Split(*request.ClientKeys, ",")
	}
	if request.SharedKeys != nil {
		q.SharedKeys = strings.Split(*request.SharedKeys, ",")
	}
	return q, nil
}

// AttributesUpdated implements transport.Downlinks.
func (s *Session) AttributesUpdated(updated []telemetry.KeyValue, deleted []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.updates {
		return
	}
	filter, name := topic.UpdatesFilter(s.style), topic.AttributeUpdates(s.style)
	if len(updated) > 0 {
		s.send(filter, name, payload.AppendValues(nil, updated))
	}
	if len(deleted) > 0 {
		s.send(filter, name, payload.AppendDeleted(nil, deleted))
	}
}

var _ transport.Downlinks = (*Session)(nil)
