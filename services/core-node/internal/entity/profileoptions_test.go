package entity_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

func TestProfileConfigurationRefused(t *testing.T) {
	p := start(t)
	protobuf := `"transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF","deviceTelemetryProtoSchema":"`
	for name, c := range map[string]struct{ transport, configuration, message string }{
		"another transport's":   {"MQTT", `{"type":"COAP"}`, "type: is 'COAP', the profile's transportType 'MQTT'"},
		"half a level":          {"MQTT", `{"deviceTelemetryTopic":"a/b+"}`, "deviceTelemetryTopic: is not a valid MQTT topic filter"},
		"# in the middle":       {"MQTT", `{"deviceAttributesTopic":"a/#/b"}`, "deviceAttributesTopic: is not a valid MQTT topic filter"},
		"a long filter":         {"MQTT", `{"deviceAttributesSubscribeTopic":"` + strings.Repeat("a", 256) + `"}`, "deviceAttributesSubscribeTopic: is not a valid MQTT topic filter"},
		"one filter for both":   {"MQTT", `{"deviceTelemetryTopic":"a","deviceAttributesTopic":"a"}`, "deviceAttributesTopic: is the same as deviceTelemetryTopic"},
		"a filter of no text":   {"MQTT", `{"deviceTelemetryTopic":7}`, "json: cannot unmarshal"},
		"an unknown payload":    {"MQTT", `{"transportPayloadTypeConfiguration":{"transportPayloadType":"XML"}}`, "transportPayloadTypeConfiguration.transportPayloadType: 'XML' is not supported"},
		"a long schema":         {"MQTT", `{` + protobuf + strings.Repeat("a", 50<<10) + `"}}`, "transportPayloadTypeConfiguration.deviceTelemetryProtoSchema: the profile's schemas are longer than 48 KiB together"},
		"a schema that is no":   {"MQTT", `{` + protobuf + `wrong"}}`, "transportPayloadTypeConfiguration.deviceTelemetryProtoSchema: schema, line 1:"},
		"CoAP, a schema":        {"COAP", `{"coapDeviceTypeConfiguration":{` + protobuf + `wrong"}}}`, "coapDeviceTypeConfiguration.transportPayloadTypeConfiguration.deviceTelemetryProtoSchema: schema, line 1:"},
		"CoAP, Efento":          {"COAP", `{"coapDeviceTypeConfiguration":{"coapDeviceType":"EFENTO"}}`, "coapDeviceTypeConfiguration.coapDeviceType: 'EFENTO' is not supported"},
		"CoAP, an unknown mode": {"COAP", `{"clientSettings":{"powerMode":"SLEEP"}}`, "clientSettings.powerMode: 'SLEEP' is unknown"},
		"CoAP, a time":          {"COAP", `{"clientSettings":{"powerMode":"PSM","psmActivityTimer":-1}}`, "clientSettings.psmActivityTimer: is not between 0 and 30 days"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.DeviceProfiles.Create(t.Context(), entity.Profile{
				Tenant: p.tenant, Name: "new", TransportType: c.transport, Body: json.RawMessage(`{"profileData":{"transportConfiguration":` + c.configuration + `}}`),
			})
			refused(t, err, fault.Invalid, nil)
			if !strings.Contains(message(err), "profileData.transportConfiguration") || !strings.Contains(message(err), c.message) {
				t.Errorf("message is %q", message(err))
			}
		})
	}
}

func TestProvisioningRefused(t *testing.T) {
	p := start(t)
	chain := func(pattern string) string {
		text, err := json.Marshal(map[string]string{"provisionDeviceSecret": leafPEM, "certificateRegExPattern": pattern})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, c := range map[string]struct{ strategy, key, configuration, message string }{
		"unknown":           {"MAYBE", "k", `{}`, "provisionType: 'MAYBE' is unknown"},
		"without key":       {"ALLOW_CREATE_NEW_DEVICES", "", `{"provisionDeviceSecret":"s"}`, "provisionDeviceKey: should be specified!"},
		"without secret":    {"CHECK_PRE_PROVISIONED_DEVICES", "k", `{}`, "provisionDeviceSecret: should be specified!"},
		"a long key":        {"DISABLED", strings.Repeat("k", 256), `{}`, "provisionDeviceKey length"},
		"no certificate":    {"X509_CERTIFICATE_CHAIN", "", `{"provisionDeviceSecret":"s","certificateRegExPattern":"(.*)"}`, "provisionDeviceSecret: is not an X.509 certificate"},
		"no expression":     {"X509_CERTIFICATE_CHAIN", "", chain(`(`), "certificateRegExPattern: error parsing regexp"},
		"looking back":      {"X509_CERTIFICATE_CHAIN", "", chain(`(?<=a)(b)`), "certificateRegExPattern: error parsing regexp"},
		"no group":          {"X509_CERTIFICATE_CHAIN", "", chain(`.*`), "certificateRegExPattern: has no group"},
		"a long expression": {"X509_CERTIFICATE_CHAIN", "", chain("(" + strings.Repeat("a", 1024) + ")"), "certificateRegExPattern: is longer than 1024 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.DeviceProfiles.Create(t.Context(), entity.Profile{Tenant: p.tenant, Name: "new", Body: json.RawMessage(
				`{"provisionType":"` + c.strategy + `","provisionDeviceKey":"` + c.key + `","profileData":{"provisionConfiguration":` + c.configuration + `}}`)})
			refused(t, err, fault.Invalid, nil)
			if !strings.Contains(message(err), c.message) {
				t.Errorf("message is %q", message(err))
			}
		})
	}
	made := p.newProfile(t, entity.Profile{Name: "chain", Body: json.RawMessage(
		`{"provisionType":"X509_CERTIFICATE_CHAIN","profileData":{"provisionConfiguration":` + chain(`(.*)`) + `}}`)})
	if found, err := p.DeviceProfiles.ByProvisionKey(t.Context(), leafID(t)); err != nil || found.ID != made.ID {
		t.Errorf("found by its certificate's id: %v, %v", found.ID, err)
	}
}
