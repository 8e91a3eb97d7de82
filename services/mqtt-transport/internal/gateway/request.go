package gateway

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
)

// request is a message that speaks of one device.
type request struct {
	device string
	kind   string // of a device that connects
	id     int32
	data   []byte // what a request was answered with, JSON or any text
	query  *query
}

// query is a request for attributes.
type query struct {
	id     int32
	client bool // of the client scope; else shared
	keys   []string
}

// parseRequest reads what payload says for action. Errors are errMalformed and errUnusable.
func parseRequest(action topic.Action, payload []byte, protobuf bool) (r request, err error) {
	if protobuf {
		r, err = parseMessage(action, payload)
	} else {
		r, err = parseObject(action, payload)
	}
	if err == nil && (r.device == "" || len(r.device) > maxName) {
		err = errUnusable
	}
	return r, err
}

// parseObject reads a JSON object. Members that are not of interest may be there.
func parseObject(action topic.Action, payload []byte) (r request, err error) {
	var said struct {
		Device string         `json:"device"`
		Type   *string        `json:"type"`
		ID     *int32         `json:"id"`
		Data   jsontext.Value `json:"data"`
		Client *bool          `json:"client"`
		Key    *string        `json:"key"`
		Keys   *[]string      `json:"keys"`
	}
	if err := json.Unmarshal(payload, &said, jsontext.AllowDuplicateNames(true)); err != nil {
		if len(payload) > 0 && jsontext.Value(payload).IsValid(jsontext.AllowDuplicateNames(true)) {
			return r, errUnusable // JSON, but not that
		}
		return r, errMalformed
	}
	r.device = said.Device
	if said.Type != nil {
		r.kind = *said.Type
	}
	switch action {
	case topic.GatewayReplyRPC:
		if said.ID == nil || said.Data == nil {
			return r, errUnusable
		}
		r.id, r.data = *said.ID, said.Data
	case topic.GatewayAttributeRequest:
		if said.ID == nil || said.Client == nil || said.Key == nil && said.Keys == nil {
			return r, errUnusable
		}
		r.query = &query{id: *said.ID, client: *said.Client}
		if said.Key != nil {
			r.query.keys = []string{*said.Key}
		} else {
			r.query.keys = *said.Keys
		}
	}
	return r, nil
}

// parseMessage reads a protobuf message.
func parseMessage(action topic.Action, payload []byte) (r request, err error) {
	switch action {
	case topic.GatewayConnect, topic.GatewayDisconnect:
		var said devicepb.GatewayConnect
		if err = proto.Unmarshal(payload, &said); err == nil {
			r.device, r.kind = said.GetDeviceName(), said.GetDeviceType()
		}
	case topic.GatewayReplyRPC:
		var said devicepb.GatewayRpcReply
		if err = proto.Unmarshal(payload, &said); err == nil {
			r.device, r.id, r.data = said.GetDeviceName(), said.GetId(), []byte(said.GetData())
		}
	case topic.GatewayAttributeRequest:
		var said devicepb.GatewayAttributesRequest
		if err = proto.Unmarshal(payload, &said); err == nil {
			r.device, r.query = said.GetDeviceName(), &query{id: said.GetId(), client: said.GetClient(), keys: said.GetKeys()}
		}
	default:
		err = errors.New("no message")
	}
	if err != nil {
		return r, errMalformed
	}
	return r, nil
}
