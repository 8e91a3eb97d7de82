package calls_test

import (
	"cmp"
	"encoding/json"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

// Schemas of a profile, each another text.
const (
	telemetrySchema  = "syntax = 'proto3'; message T { double t = 1; }"
	attributesSchema = "syntax = 'proto3'; message A { double a = 1; }"
	requestSchema    = "syntax = 'proto3'; message Q { string method = 1; int32 requestId = 2; string params = 3; }"
	replySchema      = "syntax = 'proto3'; message R { string payload = 1; }"
)

func TestOptionsOfTheProfile(t *testing.T) {
	p := start(t)
	for name, c := range map[string]struct {
		transport, configuration, device string
		want                             *sluicepb.ProfileOptions
	}{
		"default": {"DEFAULT", `{"type":"DEFAULT"}`, ``, nil},
		"MQTT, the standard topics": {
			"MQTT", `{"type":"MQTT","deviceTelemetryTopic":"v1/devices/me/telemetry","deviceAttributesTopic":"v1/devices/me/attributes"}`, ``,
			&sluicepb.ProfileOptions{},
		},
		"topics of its own": {
			"MQTT", `{"type":"MQTT","deviceTelemetryTopic":"sensors/+/data","deviceAttributesTopic":"a","deviceAttributesSubscribeTopic":"s"}`, ``,
			&sluicepb.ProfileOptions{TelemetryTopic: "sensors/+/data", AttributesTopic: "a", AttributesSubscribeTopic: "s"},
		},
		"acknowledges what is invalid": {
			"MQTT", `{"type":"MQTT","sendAckOnValidationException":true}`, ``, &sluicepb.ProfileOptions{AcknowledgeInvalid: true},
		},
		"MQTT, protobuf": {
			"MQTT", `{"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF","deviceTelemetryProtoSchema":"` + telemetrySchema + `",
				"deviceAttributesProtoSchema":"` + attributesSchema + `","deviceRpcRequestProtoSchema":"` + requestSchema + `","deviceRpcResponseProtoSchema":"` + replySchema + `",
				"enableCompatibilityWithJsonPayloadFormat":true,"useJsonPayloadFormatForDefaultDownlinkTopics":true}}`, ``,
			&sluicepb.ProfileOptions{
				Protobuf: true, TelemetrySchema: telemetrySchema, AttributesSchema: attributesSchema, RpcRequestSchema: requestSchema,
				RpcResponseSchema: replySchema, JsonToo: true, JsonDownlinks: true,
			},
		},
		"CoAP, protobuf": {
			"COAP", `{"type":"COAP","coapDeviceTypeConfiguration":{"coapDeviceType":"DEFAULT","transportPayloadTypeConfiguration":
				{"transportPayloadType":"PROTOBUF","deviceTelemetryProtoSchema":"` + telemetrySchema + `"}}}`, ``,
			&sluicepb.ProfileOptions{Protobuf: true, TelemetrySchema: telemetrySchema},
		},
		"the profile saves power": {
			"COAP", `{"type":"COAP","clientSettings":{"powerMode":"PSM","psmActivityTimer":1000}}`, ``,
			&sluicepb.ProfileOptions{PowerMode: "PSM", PsmActivityTimerMs: 1000},
		},
		"the device goes before its profile": {
			"COAP", `{"type":"COAP","clientSettings":{"powerMode":"PSM","psmActivityTimer":1000}}`,
			`{"transportConfiguration":{"type":"COAP","powerMode":"E_DRX","edrxCycle":5000,"pagingTransmissionWindow":700}}`,
			&sluicepb.ProfileOptions{PowerMode: "E_DRX", EdrxCycleMs: 5000, PagingWindowMs: 700},
		},
		"the device is always reachable": {
			"COAP", `{"type":"COAP","clientSettings":{"powerMode":"PSM"}}`, `{"transportConfiguration":{"powerMode":"DRX"}}`, &sluicepb.ProfileOptions{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			profile := p.profile(t, entity.Profile{
				Name: "of " + name, TransportType: c.transport, Body: json.RawMessage(`{"profileData":{"transportConfiguration":` + c.configuration + `}}`),
			})
			p.device(t, entity.Device{Profile: profile.ID, Data: json.RawMessage(cmp.Or(c.device, "null"))}, withToken(name))
			got := p.ask(t, token(name)).GetDevice()
			if different := diff.Diff(c.want, got.GetOptions(), protocmp.Transform()); different != "" || got == nil || got.GetTransportType() != c.transport {
				t.Errorf("%v (-want +got):\n%s", got, different)
			}
		})
	}
}

func TestRatesOfTheTenant(t *testing.T) {
	p := start(t)
	p.device(t, entity.Device{AdditionalInfo: json.RawMessage(`{"gateway":true,"overwriteActivityTime":true}`)}, withToken("T"))
	d := p.ask(t, token("T")).GetDevice()
	if d == nil || d.GetRates() != nil || !d.GetOverwriteActivity() {
		t.Errorf("without limits: %v", d)
	}
	p.limit(t, `{"transportTenantMsgRateLimit":"1:1","transportDeviceTelemetryMsgRateLimit":"10:1,300:60","transportGatewayTelemetryDataPointsRateLimit":"7:2",
		"transportGatewayDeviceMsgRateLimit":"3:3","transportDeviceMsgRateLimit":null}`)
	want := &sluicepb.RateLimits{
		Tenant: &sluicepb.RateLimit{Messages: "1:1"}, Device: &sluicepb.RateLimit{TelemetryMessages: "10:1,300:60"},
		Gateway: &sluicepb.RateLimit{TelemetryPoints: "7:2"}, GatewayDevice: &sluicepb.RateLimit{Messages: "3:3"},
	}
	if different := diff.Diff(want, p.ask(t, token("T")).GetDevice().GetRates(), protocmp.Transform()); different != "" {
		t.Errorf("(-want +got):\n%s", different)
	}
}
