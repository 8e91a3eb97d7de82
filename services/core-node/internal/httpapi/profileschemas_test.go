package httpapi_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

// proto3 begins a schema.
const proto3 = `syntax = "proto3"; `

// protobufProfile is a profile of devices that speak protobuf by MQTT, as it is saved: schemas by their field's beginning and end.
func protobufProfile(name string, schemas map[string]string) map[string]any {
	configuration := map[string]any{"transportPayloadType": "PROTOBUF"}
	for kind, text := range schemas {
		configuration["device"+kind+"ProtoSchema"] = text
	}
	return map[string]any{"name": name, "transportType": "MQTT", "profileData": map[string]any{
		"configuration":          map[string]any{"type": "DEFAULT"},
		"transportConfiguration": map[string]any{"type": "MQTT", "transportPayloadTypeConfiguration": configuration},
	}}
}

// refusedSchemas are those that no device could be served by, with the field and the reason that are to be said.
var refusedSchemas = map[string]struct{ kind, text, reason string }{
	"no syntax":                {"Telemetry", `message A { int32 a = 1; }`, `schema, line 1: "syntax" is expected`},
	"proto2":                   {"Telemetry", "syntax = \"proto2\";\nmessage A { int32 a = 1; }", `schema, line 1: the syntax must be "proto3"`},
	"required":                 {"Telemetry", proto3 + "\nmessage A {\n required int32 a = 1; }", `schema, line 3: "required" cannot be used`},
	"a group":                  {"Telemetry", proto3 + `message A { group B = 1 {} }`, `schema, line 1: "group" cannot be used`},
	"extensions":               {"Attributes", proto3 + `message A { extensions 4 to 8; }`, `schema, line 1: "extensions" cannot be used`},
	"an import":                {"Attributes", proto3 + `import "other.proto"; message A { int32 a = 1; }`, `schema, line 1: "import" cannot be used`},
	"a service":                {"Telemetry", proto3 + `message A { int32 a = 1; } service S {}`, `schema, line 1: "service" cannot be used`},
	"an enum from one":         {"Telemetry", proto3 + `message A { E e = 1; } enum E { X = 1; }`, `schema, line 1: X cannot be 1: enums begin with 0`},
	"an unknown type":          {"Telemetry", proto3 + "\nmessage A { B b = 1; }", `schema, line 2: there is no type called B`},
	"a number twice":           {"Telemetry", proto3 + `message A { int32 a = 1; int32 b = 1; }`, `schema, line 1: A has two fields called b or of number 1`},
	"text cut off":             {"RpcResponse", proto3 + "\nmessage A {\n int32 a = 1;", `schema, line 3: `},
	"no message":               {"Telemetry", proto3, `schema, line 1: there is no message`},
	"only an enum":             {"Attributes", proto3 + `enum E { X = 0; }`, `there is no message`},
	"no fields":                {"Telemetry", proto3 + `message A {}`, `message A has no fields`},
	"the last has no fields":   {"Telemetry", proto3 + `message A { int32 a = 1; } message B {}`, `message B has no fields`},
	"attributes of no fields":  {"Attributes", proto3 + `message A {}`, `message A has no fields`},
	"a time that is none":      {"Telemetry", proto3 + `message A { bool ts = 1; B values = 2; message B { int32 a = 1; } }`, `message A has a field ts that is no number`},
	"several times":            {"Telemetry", proto3 + `message A { repeated int64 ts = 1; B values = 2; message B { int32 a = 1; } }`, `message A has a field ts that is no number`},
	"values that are none":     {"Telemetry", proto3 + `message A { int64 ts = 1; int32 values = 2; }`, `message A has a field values beside ts that is no message`},
	"values of no fields":      {"Telemetry", proto3 + `message A { int64 ts = 1; B values = 2; message B {} }`, `message A has a field values without fields`},
	"a request of no method":   {"RpcRequest", proto3 + `message A { int32 requestId = 2; string params = 3; }`, `message A has no field method of type string`},
	"a method of another type": {"RpcRequest", proto3 + `message A { int32 method = 1; int32 requestId = 2; string params = 3; }`, `message A has no field method of type string`},
	"a request of no number":   {"RpcRequest", proto3 + `message A { string method = 1; string requestId = 2; string params = 3; }`, `message A has no field requestId of type int32`},
	"a request of no params":   {"RpcRequest", proto3 + `message A { string method = 1; int32 requestId = 2; }`, `message A has no field params`},
	"a reply of no message":    {"RpcResponse", proto3, `there is no message`},
	"too large":                {"Attributes", proto3 + `message A { int32 a = 1; } // ` + strings.Repeat("a", 48<<10), `the profile's schemas are longer than 48 KiB together`},
}

// TestSchemasAreRefusedWhenSaved: whoever saves a profile is told of its schema, not the first device.
func TestSchemasAreRefusedWhenSaved(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	good := map[string]string{"Telemetry": proto3 + `message Reading { double t = 1; }`}
	var saved map[string]any
	c.Do("POST", "/api/deviceProfile", protobufProfile("good", good)).Expect(200).JSON(&saved)
	refused := func(t *testing.T, profile map[string]any, where, reason string) {
		t.Helper()
		where = "profileData.transportConfiguration." + where
		if message := c.Do("POST", "/api/deviceProfile", profile).ExpectError(400, 31); !strings.HasPrefix(message, where) || !strings.Contains(message, reason) {
			t.Errorf("refused with %q, want %q of %s", message, reason, where)
		}
	}
	for name, test := range refusedSchemas {
		t.Run(name, func(t *testing.T) {
			schemas := maps.Clone(good)
			schemas[test.kind] = test.text
			where := "transportPayloadTypeConfiguration.device" + test.kind + "ProtoSchema: "
			profile := protobufProfile(name, schemas)
			refused(t, profile, where, test.reason)
			profile["id"], profile["name"] = saved["id"], "good"
			refused(t, profile, where, test.reason)

			data := profile["profileData"].(map[string]any)
			data["transportConfiguration"] = map[string]any{"type": "COAP", "coapDeviceTypeConfiguration": data["transportConfiguration"]}
			profile["transportType"] = "COAP"
			refused(t, profile, "coapDeviceTypeConfiguration."+where, test.reason)
		})
	}
	t.Run("none", func(t *testing.T) {
		refused(t, protobufProfile("none", nil), "transportPayloadTypeConfiguration.deviceTelemetryProtoSchema: ", "should be specified")
	})
	var kept map[string]any
	c.Get("/api/deviceProfile/"+saved["id"].(map[string]any)["id"].(string), &kept)
	if kept["version"] != saved["version"] {
		t.Errorf("a profile that was refused is at version %v, was at %v", kept["version"], saved["version"])
	}
	var all struct{ Data []struct{ Name string } }
	c.Get("/api/deviceProfiles?pageSize=100&page=0", &all)
	for _, one := range all.Data {
		if _, was := refusedSchemas[one.Name]; was {
			t.Errorf("the profile %q was kept", one.Name)
		}
	}
}

// TestSchemasThatServeAreTaken: what lies beside the refusals.
func TestSchemasThatServeAreTaken(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	reading := proto3 + `message Reading { double t = 1; }`
	for name, schemas := range map[string]map[string]string{
		"telemetry":                   {"Telemetry": reading},
		"attributes":                  {"Attributes": proto3 + `message State { string fw = 1; }`},
		"the last message counts":     {"Telemetry": proto3 + `message A {} message B { A a = 1; int32 b = 2; }`},
		"a time and values":           {"Telemetry": proto3 + `message A { int64 ts = 1; map<string, double> values = 2; }`},
		"a time as text":              {"Telemetry": proto3 + `message A { string ts = 1; B values = 2; } message B { int32 a = 1; } message C { A last = 1; }`},
		"values without a time":       {"Telemetry": proto3 + `message A { repeated int32 values = 1; }`},
		"requests and replies":        {"Telemetry": reading, "RpcRequest": proto3 + `message A { optional string method = 1; uint32 request_id = 2; bytes params = 3; }`, "RpcResponse": proto3 + `message A {}`},
		"schemas that are left empty": {"Telemetry": reading, "Attributes": "", "RpcRequest": "", "RpcResponse": ""},
		"all that 48 KiB hold":        {"Telemetry": reading + "//" + strings.Repeat("a", 48<<10-len(reading)-2)},
	} {
		t.Run(name, func(t *testing.T) {
			c.Do("POST", "/api/deviceProfile", protobufProfile(name, schemas)).Expect(200)
		})
	}
	t.Run("schemas of a profile that speaks JSON", func(t *testing.T) {
		profile := protobufProfile("JSON", map[string]string{"Telemetry": "old"})
		transport := profile["profileData"].(map[string]any)["transportConfiguration"].(map[string]any)
		transport["transportPayloadTypeConfiguration"].(map[string]any)["transportPayloadType"] = "JSON"
		c.Do("POST", "/api/deviceProfile", profile).Expect(200)
	})
}
