package mqtttransport

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

const provisionTopic = "/provision/request"

// provisioning connects as a client that comes for credentials.
func provisioning(t *testing.T, r *rig, version byte) *client {
	t.Helper()
	c := dial(t, r.service.Addr(), version)
	if code := c.connect(hello("", "provision", "-")); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	return c
}

// provision asks for credentials and returns the answer.
func (c *client) provision(request string) (answer struct{ Status, CredentialsType, ErrorMsg string }, value json.RawMessage) {
	c.t.Helper()
	c.acknowledged(provisionTopic, request)
	pk := c.expect(packets.Publish)
	if pk.TopicName != "/provision/response" {
		c.t.Errorf("answered on %s", pk.TopicName)
	}
	c.acknowledge(pk)
	var body struct{ CredentialsValue json.RawMessage }
	if err := json.Unmarshal(pk.Payload, &answer); err != nil {
		c.t.Fatalf("%s: %v", pk.Payload, err)
	}
	if err := json.Unmarshal(pk.Payload, &body); err != nil {
		c.t.Fatal(err)
	}
	return answer, body.CredentialsValue
}

func TestM73Provisioning(t *testing.T) {
	for _, version := range []byte{v311, v5} {
		r := start(t, nil)
		r.Core.AddProfile(&transporttest.Profile{Key: "K", Secret: "S"})
		c := provisioning(t, r, version)
		if codes := c.subscribe(1, "/provision/response", "v1/devices/me/attributes"); codes[0] != 1 || codes[1] < 0x80 {
			t.Errorf("granted %v", codes)
		}
		answer, value := c.provision(`{"deviceName":"one","provisionDeviceKey":"K","provisionDeviceSecret":"S","token":"TOKEN"}`)
		if answer.Status != "SUCCESS" || answer.CredentialsType != "ACCESS_TOKEN" || string(value) != `"TOKEN"` {
			t.Fatalf("%+v %s", answer, value)
		}
		login(t, r.service.Addr(), version, "TOKEN").alive()
		c.alive()
		t.Run("M74 again", func(t *testing.T) {
			if answer, _ := c.provision(`{"deviceName":"one","provisionDeviceKey":"K","provisionDeviceSecret":"S"}`); answer.Status != "FAILURE" || answer.ErrorMsg == "" {
				t.Errorf("%+v", answer)
			}
			if answer, _ := c.provision(`{"deviceName":"two","provisionDeviceKey":"K","provisionDeviceSecret":"wrong"}`); answer.Status != "NOT_FOUND" {
				t.Errorf("%+v", answer)
			}
		})
		t.Run("M76 basic credentials", func(t *testing.T) {
			answer, value := c.provision(`{"deviceName":"three","provisionDeviceKey":"K","provisionDeviceSecret":"S","credentialsType":"MQTT_BASIC","clientId":"c","username":"u","password":"p"}`)
			if answer.Status != "SUCCESS" || !strings.Contains(string(value), `"userName":"u"`) {
				t.Fatalf("%+v %s", answer, value)
			}
			basic := dial(t, r.service.Addr(), version)
			if code := basic.connect(hello("c", "u", "p")); code != 0 {
				t.Errorf("CONNACK %#x", code)
			}
		})
	}
}

// TestM75PreProvisioned: a device that was made before gets its credentials once.
func TestM75PreProvisioned(t *testing.T) {
	r := start(t, nil)
	r.Core.AddProfile(&transporttest.Profile{Key: "K", Secret: "S", Existing: []string{"one"}})
	c := provisioning(t, r, v5)
	for _, want := range []string{"SUCCESS", "FAILURE"} {
		if answer, _ := c.provision(`{"deviceName":"one","provisionDeviceKey":"K","provisionDeviceSecret":"S"}`); answer.Status != want {
			t.Errorf("%+v, want %s", answer, want)
		}
	}
}

// TestProvisioningInProtobuf: the answer is in the form of the request.
func TestProvisioningInProtobuf(t *testing.T) {
	r := start(t, nil)
	r.Core.AddProfile(&transporttest.Profile{Key: "K", Secret: "S"})
	c := provisioning(t, r, v5)
	request, err := proto.Marshal(&devicepb.ProvisionRequest{
		DeviceName: "one", Keys: &devicepb.ProvisionKeys{ProvisionDeviceKey: "K", ProvisionDeviceSecret: "S"},
		Credentials: &devicepb.ProvisionCredentials{Token: &devicepb.ProvisionCredentials_Token{Token: "TOKEN"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.acknowledged(provisionTopic, string(request))
	var answer devicepb.ProvisionResponse
	if err := proto.Unmarshal(c.expect(packets.Publish).Payload, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.GetStatus() != devicepb.ProvisionStatus_SUCCESS || answer.GetCredentialsValue() != "TOKEN" {
		t.Errorf("%v", &answer)
	}
}

// TestM77OnlyProvisioning: who came for credentials may do nothing else.
func TestM77OnlyProvisioning(t *testing.T) {
	r := start(t, nil)
	for _, topic := range []string{telemetryTopic, "v1/devices/me/claim", "v1/gateway/connect", "v2/fw/request/1/chunk/0"} {
		for _, version := range []byte{v311, v5} {
			c := provisioning(t, r, version)
			c.publish(1, topic, `{"t":1}`)
			if pk := c.expect(packets.Puback); version == v5 && pk.ReasonCode != 0x90 {
				t.Errorf("%s: PUBACK %#x", topic, pk.ReasonCode)
			}
			c.expectRefusal(0x90)
		}
	}
	r.Uplinks(t, 0)
	// The client id makes it one as well.
	c := dial(t, r.service.Addr(), v5)
	if code := c.connect(hello("provision", "-", "-")); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	c.publish(0, telemetryTopic, `{"t":1}`)
	c.expectRefusal(0x90)
}

// TestM78IncompleteRequest: a request that lacks what it must have ends the connection.
func TestM78IncompleteRequest(t *testing.T) {
	r := start(t, nil)
	for _, request := range []string{`{"provisionDeviceKey":"K"}`, `{"provisionDeviceKey":"K","provisionDeviceSecret":null}`} {
		c := provisioning(t, r, v5)
		c.publish(1, provisionTopic, request)
		c.expectReason(packets.Puback, 0x83)
		c.expectRefusal(0x83)
		old := provisioning(t, r, v311)
		old.publish(1, provisionTopic, request)
		old.expectClosed()
	}
	c := provisioning(t, r, v5)
	c.publish(1, provisionTopic, "\xff\xff")
	c.expectReason(packets.Puback, 0x99)
	c.alive()
}
