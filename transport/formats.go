package transport

import (
	"strconv"
	"sync"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/schema"
	"github.com/sluice-iot/sluice/transport/payload"
)

// schemas keeps compiled schemas by their texts, wrong ones too. Only one is compiled at a time.
type schemas struct {
	known     *recent[string, compiled]
	compiling sync.Mutex
}

type compiled struct {
	schema *schema.Schema
	err    error
}

func newSchemas(bytes int) *schemas {
	return &schemas{known: newRecent(bytes, func(text string, _ compiled) int { return len(text) })}
}

// get returns the compiled text.
func (s *schemas) get(text string) (*schema.Schema, error) {
	if c, found := s.known.get(text); found {
		return c.schema, c.err
	}
	s.compiling.Lock()
	defer s.compiling.Unlock()
	if c, found := s.known.get(text); found {
		return c.schema, c.err
	}
	var c compiled
	c.schema, c.err = schema.Compile(text)
	s.known.put(text, c)
	return c.schema, c.err
}

// What RPC messages are when the profile does not say (device-api §1.13).
const (
	requestSchema = `syntax = "proto3"; message RpcRequest { string method = 1; int32 requestId = 2; string params = 3; }`
	replySchema   = `syntax = "proto3"; message RpcResponse { string payload = 1; }`
)

// schemaText returns the profile's schema for p.
func schemaText(o *sluicepb.ProfileOptions, p schema.Purpose) string {
	switch p {
	case schema.ForTelemetry:
		return o.GetTelemetrySchema()
	case schema.ForAttributes:
		return o.GetAttributesSchema()
	case schema.ForRequests:
		if text := o.GetRpcRequestSchema(); text != "" {
			return text
		}
		return requestSchema
	default:
		if text := o.GetRpcResponseSchema(); text != "" {
			return text
		}
		return replySchema
	}
}

var errNoSchema = fault.New(fault.Invalid, "the device's profile has no schema for protobuf payloads")

// format resolves what a payload is; jsonToo: or else it may be JSON.
func (d *Device) format(f Format) (protobuf, jsonToo bool) {
	if f == ByProfile {
		o := d.Options()
		return o.GetProtobuf(), o.GetJsonToo()
	}
	return f == Protobuf, false
}

// readable returns a payload as JSON, in the draft's buffer unless it is JSON already.
func (t *Transport) readable(d *Device, format Format, p schema.Purpose, data []byte, f *draft) ([]byte, error) {
	protobuf, jsonToo := d.format(format)
	if !protobuf {
		return data, nil
	}
	if cap(f.json) > keptBytes {
		f.json = nil
	}
	var err error
	if f.json, err = t.translate(d, p, f.json[:0], data); err != nil {
		if jsonToo {
			return data, nil
		}
		return nil, err
	}
	return f.json, nil
}

// expansion bounds how much larger than the largest uplink a message may become as JSON.
const expansion = 4

// translate appends a message of one of the profile's schemas as JSON.
func (t *Transport) translate(d *Device, p schema.Purpose, dst, data []byte) ([]byte, error) {
	o := d.Options()
	text := schemaText(o, p)
	if !o.GetProtobuf() || text == "" {
		return dst, errNoSchema
	}
	s, err := t.schemas.get(text)
	if err != nil {
		return dst, err
	}
	return s.AppendJSON(dst, data, schema.Bounds{Values: t.config.PayloadValues, Bytes: expansion * t.config.UplinkMaxBytes})
}

// readReply returns what a device answered as text.
func (t *Transport) readReply(d *Device, format Format, data []byte) ([]byte, error) {
	protobuf, jsonToo := d.format(format)
	if !protobuf {
		return data, nil
	}
	text, err := t.translate(d, schema.ForReplies, nil, data)
	if err != nil && jsonToo {
		return data, nil
	}
	return text, err
}

// message returns a fixed message as JSON, read by read; what is JSON already stays.
func (d *Device) message(format Format, data []byte, read func([]byte) ([]byte, error)) ([]byte, error) {
	protobuf, jsonToo := d.format(format)
	if !protobuf {
		return data, nil
	}
	text, err := read(data)
	if err != nil && jsonToo {
		return data, nil
	}
	return text, err
}

// EncodeRPC implements Formats.
func (t *Transport) EncodeRPC(d *Device, r RPCRequest) ([]byte, error) {
	s, err := t.schemas.get(schemaText(d.Options(), schema.ForRequests))
	if err != nil {
		return nil, err
	}
	text := payload.AppendText([]byte(`{"method":`), r.Method)
	text = strconv.AppendInt(append(text, `,"requestId":`...), int64(r.ID), 10)
	params := r.Params
	if params == "" {
		params = "null"
	}
	text = append(append(append(text, `,"params":`...), params...), '}')
	return s.AppendMessage(nil, text)
}
