package session

import (
	"log/slog"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

const unsent = sluicepb.RpcStage_RPC_UNSENT

// formatOf is how what comes in a topic of that style is written.
func formatOf(style topic.Style) transport.Format {
	switch style {
	case topic.ShortJSON:
		return transport.JSON
	case topic.ShortProtobuf:
		return transport.Protobuf
	}
	return transport.ByProfile
}

// sendsProtobuf reports whether what goes out in a topic of that style is protobuf: as the style says, else as the profile
// does (device-api §1.13).
func (s *Session) sendsProtobuf(style topic.Style) bool {
	switch style {
	case topic.ShortJSON:
		return false
	case topic.ShortProtobuf:
		return true
	}
	o := s.device.Options()
	return o.GetProtobuf() && !(style == topic.Long && o.GetJsonToo() && o.GetJsonDownlinks())
}

// takesProtobuf reports whether what comes in a topic of that style is protobuf; jsonToo: or else it may be JSON.
func (s *Session) takesProtobuf(style topic.Style) (protobuf, jsonToo bool) {
	switch style {
	case topic.ShortJSON:
		return false, false
	case topic.ShortProtobuf:
		return true, false
	}
	o := s.device.Options()
	return o.GetProtobuf(), o.GetJsonToo()
}

// encodeRequest is r as the device is sent it.
func (s *Session) encodeRequest(r transport.RPCRequest, style topic.Style) ([]byte, error) {
	if s.sendsProtobuf(style) {
		return s.hub.platform.EncodeRPC(s.device, r)
	}
	body := payload.AppendText([]byte(`{"method":`), r.Method)
	params := r.Params
	if params == "" {
		params = "null"
	}
	return append(append(append(body, `,"params":`...), params...), '}'), nil
}

// encodeAnswer is the answer to the device's own request.
func (s *Session) encodeAnswer(id int32, answer string, style topic.Style) ([]byte, error) {
	if s.sendsProtobuf(style) {
		return payload.Marshal(payload.RPCAnswer(id, answer))
	}
	return []byte(answer), nil
}

// encodeAttributes is the answer to a request for attributes.
func (s *Session) encodeAttributes(r *attributeRequest, a transport.Attributes) ([]byte, error) {
	if s.sendsProtobuf(r.style) {
		several := len(r.query.ClientKeys)+len(r.query.SharedKeys) > 1
		return payload.Marshal(payload.AttributesResponse(r.id, a.Client, a.Shared, several))
	}
	return payload.AppendAttributes(nil, a.Client, a.Shared), nil
}

// encodeUpdates are the messages that tell of changed and deleted attributes.
func (s *Session) encodeUpdates(updated []telemetry.KeyValue, deleted []string) (bodies [][]byte, err error) {
	if s.sendsProtobuf(s.style) {
		body, err := payload.Marshal(payload.AttributesUpdate(updated, deleted))
		return [][]byte{body}, err
	}
	if len(updated) > 0 {
		bodies = append(bodies, payload.AppendValues(nil, updated))
	}
	if len(deleted) > 0 {
		bodies = append(bodies, payload.AppendDeleted(nil, deleted))
	}
	return bodies, nil
}

// unencodable notes a message that cannot be written as the device wants it.
func (s *Session) unencodable(err error) {
	s.hub.metrics.unencodable.Inc()
	s.hub.log.Debug("a message to a device could not be encoded", slog.Any("err", err))
}
