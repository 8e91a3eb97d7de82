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

var (
	errRequest   = fault.New(fault.Invalid, "attribute request is malformed")
	errRequestID = fault.New(fault.Invalid, "the id of a request must be a decimal number of 32 bits")
)

// attributeRequest is a request for attributes that was taken on.
type attributeRequest struct {
	query transport.AttributeQuery
	style topic.Style
	id    int32
	text  string // the id as the device wrote it
}

// requestAttributes takes a request for attributes on: the PUBLISH is acknowledged, and the answer
// follows when the platform gave it. It is sent whether or not the client subscribed.
func (s *Session) requestAttributes(ctx context.Context, m, before *message, r topic.Route, data []byte) Verdict {
	id, ok := topic.ParseRequestID(r.ID)
	query, err := s.readQuery(r.Style, data)
	if !ok || err != nil {
		return s.conclude(m, s.outcomeOf(errRequest, m.qos))
	}
	if !s.beginRead() {
		s.withdraw(m, before)
		return Pause
	}
	request := &attributeRequest{query, r.Style, id, string(r.ID)}
	s.finish(m, outcome{fate: Answered})
	s.hub.reads.Go(func() { s.readAttributes(ctx, request) })
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
func (s *Session) readAttributes(ctx context.Context, r *attributeRequest) {
	defer s.endRead()
	attributes, err := s.hub.platform.ReadAttributes(ctx, s.device, r.query)
	if err != nil {
		s.hub.metrics.unread.Inc()
		s.hub.log.Debug("attributes could not be read", slog.Any("err", err))
		return
	}
	if r.id < 0 {
		return // nobody waits for that
	}
	answer, err := s.encodeAttributes(r, attributes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unencodable(err)
		return
	}
	s.send(topic.AnswersFilter(r.style), topic.AttributeAnswer(r.style, r.text), answer)
}

func (s *Session) endRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads--
	s.settled()
}

// readQuery reads a request as its topic, or else the device's profile, says that it is written.
func (s *Session) readQuery(style topic.Style, data []byte) (transport.AttributeQuery, error) {
	protobuf, jsonToo := s.takesProtobuf(style)
	if !protobuf {
		return parseQuery(data)
	}
	client, shared, err := payload.ReadAttributesRequest(data)
	if err != nil && jsonToo {
		return parseQuery(data)
	}
	all := len(client) == 0 && len(shared) == 0
	return transport.AttributeQuery{AllClient: all, AllShared: all, ClientKeys: client, SharedKeys: shared}, err
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
	bodies, err := s.encodeUpdates(updated, deleted)
	if err != nil {
		s.unencodable(err)
	}
	for _, body := range bodies {
		s.send(topic.UpdatesFilter(s.style), s.updatesTopic(), body)
	}
}

// updatesTopic is where changed attributes are sent: the name subscribed to last.
func (s *Session) updatesTopic() string {
	if s.style == topic.Own {
		names := s.names()
		return names.UpdatesTopic()
	}
	return topic.AttributeUpdates(s.style)
}

var _ transport.Downlinks = (*Session)(nil)
