package payload

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// The messages that devices with a PROTOBUF profile exchange in place of JSON, where no schema of the profile's says what
// they are (device_payload.proto).

var errMessage = fault.New(fault.Invalid, "payload is not the message that is expected")

// ReadCall returns a device's request to its rule chain as JSON.
func ReadCall(data []byte) ([]byte, error) {
	var m devicepb.RpcRequest
	if proto.Unmarshal(data, &m) != nil {
		return nil, errMessage
	}
	params := m.GetParams()
	if params == "" {
		params = "null"
	}
	text := AppendText([]byte(`{"method":`), m.GetMethod())
	return append(append(append(text, `,"params":`...), params...), '}'), nil
}

// ReadClaim returns a claim as JSON.
func ReadClaim(data []byte) ([]byte, error) {
	var m devicepb.Claim
	if proto.Unmarshal(data, &m) != nil {
		return nil, errMessage
	}
	return AppendClaim(nil, &m), nil
}

// AppendClaim appends a claim as JSON.
func AppendClaim(dst []byte, m *devicepb.Claim) []byte {
	dst = AppendText(append(dst, `{"secretKey":`...), m.GetSecretKey())
	return append(strconv.AppendInt(append(dst, `,"durationMs":`...), m.GetDurationMs(), 10), '}')
}

// ReadAttributesRequest returns the keys a device asks for.
func ReadAttributesRequest(data []byte) (client, shared []string, err error) {
	var m devicepb.AttributesRequest
	if proto.Unmarshal(data, &m) != nil {
		return nil, nil, errMessage
	}
	return splitKeys(m.GetClientKeys()), splitKeys(m.GetSharedKeys()), nil
}

func splitKeys(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// AttributesResponse is the answer to an attribute request; multiple says whether more than one key was asked for.
func AttributesResponse(id int32, client, shared []telemetry.KeyValue, multiple bool) *devicepb.AttributesResponse {
	return &devicepb.AttributesResponse{RequestId: id, Client: timed(client), Shared: timed(shared), Multiple: multiple}
}

// AttributesUpdate tells of changed and deleted attributes.
func AttributesUpdate(updated []telemetry.KeyValue, deleted []string) *devicepb.AttributesUpdate {
	return &devicepb.AttributesUpdate{Updated: timed(updated), Deleted: deleted}
}

// RPCAnswer is the rule chain's answer to a device's request.
func RPCAnswer(id int32, payload string) *devicepb.RpcResponse {
	return &devicepb.RpcResponse{RequestId: id, Payload: payload}
}

// Marshal encodes one of these messages. What is not UTF-8 in values cannot be sent.
func Marshal(m proto.Message) ([]byte, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "encode a message to a device", err)
	}
	return data, nil
}

func timed(values []telemetry.KeyValue) []*devicepb.TimedKeyValue {
	var out []*devicepb.TimedKeyValue
	for i := range values {
		out = append(out, &devicepb.TimedKeyValue{Kv: message(&values[i])})
	}
	return out
}

func message(v *telemetry.KeyValue) *devicepb.KeyValue {
	m := &devicepb.KeyValue{Key: v.Key}
	switch v.Kind {
	case telemetry.Bool:
		m.BoolV = v.Bool()
	case telemetry.Long:
		m.Type, m.LongV = devicepb.ValueType_LONG_V, v.Long()
	case telemetry.Double:
		m.Type, m.DoubleV = devicepb.ValueType_DOUBLE_V, v.Double()
	case telemetry.JSON:
		m.Type, m.JsonV = devicepb.ValueType_JSON_V, v.Text()
	default:
		m.Type, m.StringV = devicepb.ValueType_STRING_V, v.Text()
	}
	return m
}

// The refusals of values in messages.
var (
	errNoKey   = fault.New(fault.Invalid, "a value without a key")
	errNotJSON = fault.New(fault.Invalid, "a JSON value that is no JSON")
	errShared  = fault.New(fault.Invalid, "devices cannot write shared attributes")
	errEmpty   = fault.New(fault.Invalid, "a list without values")
)

// AppendTelemetry appends a telemetry message as JSON; a record of time 0 gets none.
func AppendTelemetry(dst []byte, m *devicepb.Telemetry) (_ []byte, err error) {
	if len(m.GetRecords()) == 0 {
		return dst, errEmpty
	}
	dst = append(dst, '[')
	for i, record := range m.GetRecords() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if ts := record.GetTs(); ts != 0 {
			dst = append(strconv.AppendInt(append(dst, `{"ts":`...), ts, 10), `,"values":`...)
		}
		if dst, err = appendMessages(dst, record.GetValues()); err != nil {
			return dst, err
		}
		if record.GetTs() != 0 {
			dst = append(dst, '}')
		}
	}
	return append(dst, ']'), nil
}

// AppendClientAttributes appends an attributes message as JSON.
func AppendClientAttributes(dst []byte, m *devicepb.Attributes) ([]byte, error) {
	if m.GetShared() {
		return dst, errShared
	}
	return appendMessages(dst, m.GetValues())
}

func appendMessages(dst []byte, values []*devicepb.KeyValue) ([]byte, error) {
	if len(values) == 0 {
		return dst, errEmpty
	}
	dst = append(dst, '{')
	for i, v := range values {
		if v.GetKey() == "" {
			return dst, errNoKey
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, v.GetKey()), ':')
		switch v.GetType() {
		case devicepb.ValueType_BOOLEAN_V:
			dst = strconv.AppendBool(dst, v.GetBoolV())
		case devicepb.ValueType_LONG_V:
			dst = strconv.AppendInt(dst, v.GetLongV(), 10)
		case devicepb.ValueType_DOUBLE_V:
			dst = appendPoint(dst, v.GetDoubleV())
		case devicepb.ValueType_JSON_V:
			if !json.Valid([]byte(v.GetJsonV())) {
				return dst, errNotJSON
			}
			dst = append(dst, v.GetJsonV()...)
		default:
			dst = appendText(dst, v.GetStringV())
		}
	}
	return append(dst, '}'), nil
}

// appendPoint writes f with a point and without an exponent, so that it is read as a double again; what is no number has no value.
func appendPoint(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[from:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
