package gateway

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

// jsonForm writes JSON (device-api §2.1).
type jsonForm struct{}

func about(dst []byte, device string) []byte {
	return quote(append(dst, `"device":`...), device)
}

// quote appends text as a JSON string. What is not UTF-8 in it becomes the replacement character, which is all the error would say.
func quote(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

func (jsonForm) answer(device string, q *query, values []telemetry.KeyValue) []byte {
	b := strconv.AppendInt([]byte(`{"id":`), int64(q.id), 10)
	b = about(append(b, ','), device)
	switch {
	case len(values) == 0:
	case len(q.keys) == 1:
		b = payload.AppendValue(append(b, `,"value":`...), values[0].Value)
	default:
		b = payload.AppendValues(append(b, `,"values":`...), values)
	}
	return append(b, '}')
}

func (jsonForm) updated(device string, values []telemetry.KeyValue) []byte {
	return append(payload.AppendValues(append(about([]byte{'{'}, device), `,"data":`...), values), '}')
}

func (jsonForm) deleted(device string, keys []string) []byte {
	return append(payload.AppendDeleted(append(about([]byte{'{'}, device), `,"data":`...), keys), '}')
}

func (jsonForm) rpc(device string, r *transport.RPCRequest) []byte {
	b := append(about([]byte{'{'}, device), `,"data":{"id":`...)
	b = strconv.AppendInt(b, int64(r.ID), 10)
	b = quote(append(b, `,"method":`...), r.Method)
	params := r.Params
	if params == "" {
		params = "null"
	}
	return append(append(append(b, `,"params":`...), params...), "}}"...)
}

func (jsonForm) notice(device string, reason int) []byte {
	b := append(about([]byte{'{'}, device), `,"reason":`...)
	return append(strconv.AppendInt(b, int64(reason), 10), '}')
}
