package entity

import (
	"encoding/json"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/schema"
)

// What device profiles say of the transport goes to every transport with every device, so it is bounded.
const (
	maxTopicFilter = 255      // bytes
	maxSchemas     = 48 << 10 // bytes of a profile's schemas together
)

// The topics devices use when their profile names none.
const (
	standardTelemetry  = "v1/devices/me/telemetry"
	standardAttributes = "v1/devices/me/attributes"
)

// payloadType is transportPayloadTypeConfiguration (device-api §1.13).
type payloadType struct {
	Type             string `json:"transportPayloadType"`
	TelemetrySchema  string `json:"deviceTelemetryProtoSchema"`
	AttributesSchema string `json:"deviceAttributesProtoSchema"`
	RPCRequest       string `json:"deviceRpcRequestProtoSchema"`
	RPCResponse      string `json:"deviceRpcResponseProtoSchema"`
	JSONToo          bool   `json:"enableCompatibilityWithJsonPayloadFormat"`
	JSONDownlinks    bool   `json:"useJsonPayloadFormatForDefaultDownlinkTopics"`
}

// powerSaving is the same in profiles and devices (device-api §4.5); times are ms, 0 the transport's own.
type powerSaving struct {
	Mode         string `json:"powerMode"`
	PSMTimer     int64  `json:"psmActivityTimer"`
	EDRXCycle    int64  `json:"edrxCycle"`
	PagingWindow int64  `json:"pagingTransmissionWindow"`
}

// transportConfiguration is what a profile's profileData says of the transport.
type transportConfiguration struct {
	Type                string      `json:"type"`
	TelemetryTopic      string      `json:"deviceTelemetryTopic"`
	AttributesTopic     string      `json:"deviceAttributesTopic"`
	AttributesSubscribe string      `json:"deviceAttributesSubscribeTopic"`
	Payload             payloadType `json:"transportPayloadTypeConfiguration"`
	AcknowledgeInvalid  bool        `json:"sendAckOnValidationException"`
	CoAPDevice          struct {
		Type    string      `json:"coapDeviceType"`
		Payload payloadType `json:"transportPayloadTypeConfiguration"`
	} `json:"coapDeviceTypeConfiguration"`
	Client powerSaving `json:"clientSettings"`
}

func (p Profile) transport() (transportConfiguration, error) {
	var body struct {
		ProfileData struct {
			TransportConfiguration transportConfiguration `json:"transportConfiguration"`
		} `json:"profileData"`
	}
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return transportConfiguration{}, fault.Wrap(fault.Invalid, "profileData.transportConfiguration: "+err.Error(), err)
	}
	return body.ProfileData.TransportConfiguration, nil
}

// Options returns what transports are to know of a profile and a device of it; nil when all is the default.
func (p Profile) Options(d Device) (*sluicepb.ProfileOptions, error) {
	if p.TransportType != "MQTT" && p.TransportType != "COAP" {
		return nil, nil //nolint:nilnil // there are no options
	}
	of, err := p.transport()
	if err != nil {
		return nil, err
	}
	options := &sluicepb.ProfileOptions{}
	payload := of.Payload
	if p.TransportType == "MQTT" {
		options.TelemetryTopic = unless(of.TelemetryTopic, standardTelemetry)
		options.AttributesTopic = unless(of.AttributesTopic, standardAttributes)
		options.AttributesSubscribeTopic = unless(of.AttributesSubscribe, standardAttributes)
		options.AcknowledgeInvalid = of.AcknowledgeInvalid
	} else {
		payload = of.CoAPDevice.Payload
		saving := of.Client
		own, err := d.powerSaving()
		if err != nil {
			return nil, err
		}
		if own.Mode != "" {
			saving = own
		}
		options.PowerMode = unless(saving.Mode, "DRX")
		if options.GetPowerMode() != "" {
			options.PsmActivityTimerMs, options.EdrxCycleMs, options.PagingWindowMs = saving.PSMTimer, saving.EDRXCycle, saving.PagingWindow
		}
	}
	if payload.Type == "PROTOBUF" {
		options.Protobuf, options.JsonToo = true, payload.JSONToo
		options.JsonDownlinks = payload.JSONToo && payload.JSONDownlinks
		options.TelemetrySchema, options.AttributesSchema = payload.TelemetrySchema, payload.AttributesSchema
		options.RpcRequestSchema, options.RpcResponseSchema = payload.RPCRequest, payload.RPCResponse
	}
	return options, nil
}

func (d Device) powerSaving() (powerSaving, error) {
	var data struct {
		TransportConfiguration powerSaving `json:"transportConfiguration"`
	}
	if len(d.Data) == 0 {
		return powerSaving{}, nil
	}
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return powerSaving{}, fault.Wrap(fault.Invalid, "deviceData.transportConfiguration: "+err.Error(), err)
	}
	return data.TransportConfiguration, nil
}

// unless is text, or "" when it only says what goes without saying.
func unless(text, standard string) string {
	if text == standard {
		return ""
	}
	return text
}

// checkTransport validates what a profile says of the transport.
func checkTransport(p Profile) error {
	of, err := p.transport()
	if err != nil {
		return err
	}
	const where = "profileData.transportConfiguration."
	if of.Type != "" && of.Type != "DEFAULT" && of.Type != p.TransportType {
		return fault.New(fault.Invalid, where+"type: is '"+of.Type+"', the profile's transportType '"+p.TransportType+"'")
	}
	switch p.TransportType {
	case "MQTT":
		if err := checkTopics(where, of); err != nil {
			return err
		}
		return checkPayload(where, of.Payload)
	case "COAP":
		if t := of.CoAPDevice.Type; t != "" && t != "DEFAULT" {
			return fault.New(fault.Invalid, where+"coapDeviceTypeConfiguration.coapDeviceType: '"+t+"' is not supported")
		}
		if err := checkPower(where+"clientSettings.", of.Client); err != nil {
			return err
		}
		return checkPayload(where+"coapDeviceTypeConfiguration.", of.CoAPDevice.Payload)
	}
	return nil
}

func checkTopics(where string, of transportConfiguration) error {
	for field, filter := range map[string]string{
		"deviceTelemetryTopic": of.TelemetryTopic, "deviceAttributesTopic": of.AttributesTopic,
		"deviceAttributesSubscribeTopic": of.AttributesSubscribe,
	} {
		if filter != "" && !isTopicFilter(filter) {
			return fault.New(fault.Invalid, where+field+": is not a valid MQTT topic filter")
		}
	}
	if of.TelemetryTopic != "" && of.TelemetryTopic == of.AttributesTopic {
		return fault.New(fault.Invalid, where+"deviceAttributesTopic: is the same as deviceTelemetryTopic")
	}
	return nil
}

// isTopicFilter: a wildcard is a whole level, and # the last one (MQTT 5 §4.7.1).
func isTopicFilter(filter string) bool {
	if len(filter) > maxTopicFilter || strings.ContainsRune(filter, 0) {
		return false
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && len(level) > 1 || level == "#" && i < len(levels)-1 {
			return false
		}
	}
	return true
}

// checkPayload refuses schemas by which no message of a device could be read, or no request written.
func checkPayload(where string, of payloadType) error {
	where += "transportPayloadTypeConfiguration."
	switch of.Type {
	case "", "JSON":
		return nil
	case "PROTOBUF":
	default:
		return fault.New(fault.Invalid, where+"transportPayloadType: '"+of.Type+"' is not supported")
	}
	if of.TelemetrySchema == "" && of.AttributesSchema == "" {
		return fault.New(fault.Invalid, where+"deviceTelemetryProtoSchema: should be specified, or deviceAttributesProtoSchema")
	}
	total := 0
	for _, one := range []struct {
		field, text string
		purpose     schema.Purpose
	}{
		{"deviceTelemetryProtoSchema", of.TelemetrySchema, schema.ForTelemetry},
		{"deviceAttributesProtoSchema", of.AttributesSchema, schema.ForAttributes},
		{"deviceRpcRequestProtoSchema", of.RPCRequest, schema.ForRequests},
		{"deviceRpcResponseProtoSchema", of.RPCResponse, schema.ForReplies},
	} {
		if one.text == "" {
			continue
		}
		if total += len(one.text); total > maxSchemas {
			return fault.New(fault.Invalid, where+one.field+": the profile's schemas are longer than 48 KiB together")
		}
		if err := schema.Check(one.text, one.purpose); err != nil {
			return fault.Wrap(fault.Invalid, where+one.field+": "+err.Error(), err)
		}
	}
	return nil
}

// maxPowerTimer bounds each time of power saving: 30 days, in ms.
const maxPowerTimer = 30 * 24 * 3600 * 1000

func checkPower(where string, of powerSaving) error {
	switch of.Mode {
	case "", "DRX", "PSM", "E_DRX":
	default:
		return fault.New(fault.Invalid, where+"powerMode: '"+of.Mode+"' is unknown")
	}
	for field, ms := range map[string]int64{
		"psmActivityTimer": of.PSMTimer, "edrxCycle": of.EDRXCycle, "pagingTransmissionWindow": of.PagingWindow,
	} {
		if ms < 0 || ms > maxPowerTimer {
			return fault.New(fault.Invalid, where+field+": is not between 0 and 30 days")
		}
	}
	return nil
}
