package gateway

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

// messages splits GatewayTelemetry, GatewayAttributes and GatewayClaims (device-api §2.7). Each entry's value is what JSON
// would say.
func (s *splitter) messages(data []byte, action topic.Action) ([]entry, error) {
	s.reset(data)
	share := protowire.Number(2)
	if action == topic.GatewayTelemetry {
		share = 3
	}
	err := fields(data, func(n protowire.Number, value []byte) error {
		if n != 1 {
			return nil
		}
		e, err := parseEntry(value, share)
		if err == nil {
			s.entries = append(s.entries, e)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(s.entries) == 0:
		return nil, errUnusable
	}
	for i := range s.entries {
		s.toJSON(&s.entries[i], action)
	}
	return s.entries, nil
}

// toJSON puts what the message in e says in place of it.
func (s *splitter) toJSON(e *entry, action topic.Action) {
	text := s.rewrite.text
	from := len(text)
	var err error
	switch action {
	case topic.GatewayTelemetry:
		var m devicepb.Telemetry
		if err = proto.Unmarshal(e.value, &m); err == nil {
			text, err = payload.AppendTelemetry(text, &m)
		}
	case topic.GatewayAttributes:
		var m devicepb.Attributes
		if err = proto.Unmarshal(e.value, &m); err == nil {
			text, err = payload.AppendClientAttributes(text, &m)
		}
	default:
		var m devicepb.Claim
		if err = proto.Unmarshal(e.value, &m); err == nil {
			text = payload.AppendClaim(text, &m)
		}
	}
	if e.broken = err != nil; e.broken {
		return
	}
	s.rewrite.text = text
	e.value = text[from:len(text):len(text)]
}

func parseEntry(data []byte, share protowire.Number) (e entry, err error) {
	err = fields(data, func(n protowire.Number, value []byte) error {
		switch {
		case n == 1 && !utf8.Valid(value):
			return errMalformed
		case n == 1:
			e.name = value
		case n == share && e.value == nil:
			e.value = value
		case n == share: // one message in two parts
			e.value = append(e.value[:len(e.value):len(e.value)], value...)
		}
		return nil
	})
	if err == nil && len(e.name) == 0 {
		err = errUnusable
	}
	return e, err
}

// fields hands every field of a message that has a length to take. Others are none of ours.
func fields(data []byte, take func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errMalformed
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return errMalformed
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data)
			if err := take(number, value); err != nil {
				return err
			}
		}
		data = data[n:]
	}
	return nil
}

// protobufForm writes protobuf. Names and keys that are not UTF-8 cannot be: then nothing is written.
type protobufForm struct{}

// encode returns nil when m cannot be written.
func encode(m proto.Message) []byte {
	b, err := payload.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

func (protobufForm) answer(device string, q *query, values []telemetry.KeyValue) []byte {
	var client, shared []telemetry.KeyValue
	if q.client {
		client = values
	} else {
		shared = values
	}
	response := payload.AttributesResponse(q.id, client, shared, len(q.keys) > 1)
	return encode(&devicepb.GatewayAttributesResponse{DeviceName: device, Response: response})
}

func (protobufForm) updated(device string, values []telemetry.KeyValue) []byte {
	return encode(&devicepb.GatewayAttributesUpdate{DeviceName: device, Update: payload.AttributesUpdate(values, nil)})
}

func (protobufForm) deleted(device string, keys []string) []byte {
	return encode(&devicepb.GatewayAttributesUpdate{DeviceName: device, Update: payload.AttributesUpdate(nil, keys)})
}

func (protobufForm) rpc(device string, r *transport.RPCRequest) []byte {
	return encode(&devicepb.GatewayRpcRequest{DeviceName: device, Request: &devicepb.ServerRpcRequest{
		RequestId: r.ID, MethodName: r.Method, Params: r.Params, ExpirationTime: r.Expires.UnixMilli(),
		RequestIdMsb: int64(binary.BigEndian.Uint64(r.Request[:8])), RequestIdLsb: int64(binary.BigEndian.Uint64(r.Request[8:])),
		OneWay: r.OneWay, Persisted: r.Persistent,
	}})
}

func (protobufForm) notice(device string, reason int) []byte {
	return encode(&devicepb.GatewayDisconnect{DeviceName: device, ReasonCode: int32(reason)})
}
