package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

// deviceMQTTCredentials are the cases of credentials other than tokens, and of coming for some.
func deviceMQTTCredentials(t *testing.T, a *deviceAPI) {
	t.Run("basic", func(t *testing.T) { mqttBasic(t, a) })
	t.Run("certificates", func(t *testing.T) { mqttCertificates(t, a) })
	t.Run("provisioning", func(t *testing.T) { mqttProvisioning(t, a) })
	t.Run("profile", func(t *testing.T) { mqttProfiles(t, a) })
}

// credentials replaces a device's credentials.
func (a *deviceAPI) credentials(t *testing.T, device string, kind, value string) {
	t.Helper()
	var now map[string]any
	a.rest(t, http.MethodGet, "/api/device/"+device+"/credentials", nil, &now)
	now["credentialsType"], now["credentialsId"], now["credentialsValue"] = kind, nil, value
	a.rest(t, http.MethodPost, "/api/device/credentials", now, nil)
}

// basic makes a device with MQTT_BASIC credentials.
func (a *deviceAPI) basic(t *testing.T, fields map[string]string) {
	t.Helper()
	device, _ := a.device(t, "")
	value, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	a.credentials(t, device, "MQTT_BASIC", string(value))
}

func mqttBasic(t *testing.T, a *deviceAPI) {
	_, token := a.device(t, "")
	id, user := unique("client"), unique("user")
	a.basic(t, map[string]string{"clientId": id})
	a.basic(t, map[string]string{"clientId": id, "userName": user, "password": "p"})
	a.basic(t, map[string]string{"userName": user + "2", "password": "p"})
	a.basic(t, map[string]string{"clientId": id, "userName": token, "password": "p"})
	for _, c := range []struct {
		name  string
		hello mqttHello
		code  byte
	}{
		{"M08 client id", mqttHello{clientID: id}, 0},
		{"M09 all right", mqttHello{clientID: id, username: user, password: "p"}, 0},
		{"M09 wrong password", mqttHello{clientID: id, username: user, password: "wrong"}, 5},
		{"M09 wrong password, another's token", mqttHello{clientID: id, username: token, password: "wrong"}, 5},
		{"M10 user name and password", mqttHello{clientID: "any", username: user + "2", password: "p"}, 0},
		{"M10 wrong password", mqttHello{clientID: "any", username: user + "2", password: "wrong"}, 5},
		{"M11 both", mqttHello{clientID: id, username: token, password: "p"}, 0},
		{"M11 other client id is the token's", mqttHello{clientID: "other", username: token}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, code := mqttOpen(t, a.doors.MQTT, c.hello); code != c.code {
				t.Fatalf("CONNACK %#x, want %#x", code, c.code)
			}
		})
	}
	t.Run("M19 changed", func(t *testing.T) {
		device, token := a.device(t, "")
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
		a.credentials(t, device, "MQTT_BASIC", `{"clientId":"`+unique("client")+`"}`)
		if reason := client.closed(); reason != 0x98 {
			t.Fatalf("DISCONNECT %#x", reason)
		}
	})
}

// mqttIdentity makes a client's certificate, signed by issuer (nil: by itself), and its PEM.
func mqttIdentity(t *testing.T, name string, issuer *tls.Certificate, change func(*x509.Certificate)) (*tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	shown := [][]byte{der}
	if issuer != nil {
		shown = append(shown, issuer.Certificate...)
	}
	return &tls.Certificate{Certificate: shown, PrivateKey: key, Leaf: leaf},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func mqttCertificates(t *testing.T, a *deviceAPI) {
	_, token := a.device(t, "")
	show := func(one *tls.Certificate) *tls.Config {
		config := &tls.Config{RootCAs: a.roots, ServerName: "localhost"}
		if one != nil {
			config.Certificates = []tls.Certificate{*one}
		}
		return config
	}
	registered := func(change func(*x509.Certificate)) (*tls.Certificate, string) {
		one, text := mqttIdentity(t, unique("leaf"), nil, change)
		device, _ := a.device(t, "")
		a.credentials(t, device, "X509_CERTIFICATE", text)
		return one, device
	}
	own, device := registered(nil)
	expired, _ := registered(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	stranger, _ := mqttIdentity(t, "stranger", nil, nil)
	for _, c := range []struct {
		name     string
		shown    *tls.Certificate
		username string
		accepted bool
	}{
		{"M13 registered", own, "", true},
		{"M14 unregistered", stranger, token, false},
		{"M15 none", nil, token, true},
		{"M16 expired", expired, token, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for version, refused := range map[byte]byte{mqtt311: 5, mqtt5: 0x87} {
				want := byte(0)
				if !c.accepted {
					want = refused
				}
				if _, code := mqttOpen(t, a.doors.MQTTTLS, mqttHello{version: version, username: c.username, tls: show(c.shown)}); code != want {
					t.Fatalf("CONNACK %#x, want %#x", code, want)
				}
			}
		})
	}
	t.Run("M13 is that device", func(t *testing.T) {
		client := mqttConnect(t, a.doors.MQTTTLS, mqttHello{tls: show(own)})
		client.publish(mqttTelemetryTopic, `{"t":1}`)
		a.stored(t, device, "t", point{Value: json.Number("1")})
	})
	t.Run("M17 provisioned by its chain", func(t *testing.T) {
		authority, text := mqttIdentity(t, unique("authority"), nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
		a.provisioningProfile(t, "X509_CERTIFICATE_CHAIN", map[string]any{
			"type": "X509_CERTIFICATE_CHAIN", "provisionDeviceSecret": text, "certificateRegExPattern": "(.*)",
			"allowCreateNewDevicesByX509Certificate": true,
		})
		name := unique("dev-7")
		leaf, _ := mqttIdentity(t, name, authority, nil)
		client := mqttConnect(t, a.doors.MQTTTLS, mqttHello{tls: show(leaf)})
		client.publish(mqttTelemetryTopic, `{"t":1}`)
		var made struct{ ID ref }
		a.rest(t, http.MethodGet, "/api/tenant/devices?deviceName="+name, nil, &made)
		a.stored(t, made.ID.ID, "t", point{Value: json.Number("1")})
	})
}

// provisioningProfile makes a profile that takes on devices by that strategy, and returns its key.
func (a *deviceAPI) provisioningProfile(t *testing.T, strategy string, configuration map[string]any) (name, key string) {
	t.Helper()
	name, key = unique("profile"), strings.ReplaceAll(unique("K"), "-", "")
	document := map[string]any{
		"name": name, "type": "DEFAULT", "transportType": "DEFAULT", "provisionType": strategy,
		"profileData": map[string]any{
			"configuration": map[string]any{"type": "DEFAULT"}, "transportConfiguration": map[string]any{"type": "DEFAULT"},
			"provisionConfiguration": configuration,
		},
	}
	if strategy != "X509_CERTIFICATE_CHAIN" {
		document["provisionDeviceKey"] = key
	}
	a.rest(t, http.MethodPost, "/api/deviceProfile", document, nil)
	return name, key
}

// comeForCredentials connects as a client that asks for some, and returns how it asks.
func comeForCredentials(t *testing.T, a *deviceAPI) (client *mqttClient, ask func(request map[string]any) (answer map[string]any)) {
	client = mqttConnect(t, a.doors.MQTT, mqttHello{username: "provision"})
	return client, func(request map[string]any) (answer map[string]any) {
		t.Helper()
		text, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		client.publish("/provision/request", string(text))
		if err := json.Unmarshal(client.message("/provision/response").payload, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

func mqttProvisioning(t *testing.T, a *deviceAPI) {
	const secret = "secret"
	_, key := a.provisioningProfile(t, "ALLOW_CREATE_NEW_DEVICES", map[string]any{"type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": secret})
	_, ask := comeForCredentials(t, a)
	name := unique("new")
	t.Run("M73 token", func(t *testing.T) {
		answer := ask(map[string]any{"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": secret})
		token, _ := answer["credentialsValue"].(string)
		if answer["status"] != "SUCCESS" || token == "" {
			t.Fatalf("answer %v", answer)
		}
		mqttConnect(t, a.doors.MQTT, mqttHello{username: token}).ping()
	})
	t.Run("M74 again", func(t *testing.T) {
		if answer := ask(map[string]any{"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": secret}); answer["status"] != "FAILURE" {
			t.Fatalf("answer %v", answer)
		}
		if answer := ask(map[string]any{"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": "wrong"}); answer["status"] != "NOT_FOUND" {
			t.Fatalf("answer %v", answer)
		}
	})
	t.Run("M75 made before", func(t *testing.T) {
		kind, key := a.provisioningProfile(t, "CHECK_PRE_PROVISIONED_DEVICES", map[string]any{"type": "CHECK_PRE_PROVISIONED_DEVICES", "provisionDeviceSecret": secret})
		name := unique("before")
		a.rest(t, http.MethodPost, "/api/device", map[string]any{"name": name, "type": kind}, nil)
		for _, want := range []string{"SUCCESS", "FAILURE"} {
			if answer := ask(map[string]any{"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": secret}); answer["status"] != want {
				t.Fatalf("answer %v, want %s", answer, want)
			}
		}
	})
	t.Run("M76 basic credentials", func(t *testing.T) {
		id := unique("client")
		answer := ask(map[string]any{
			"deviceName": unique("new"), "provisionDeviceKey": key, "provisionDeviceSecret": secret,
			"credentialsType": "MQTT_BASIC", "clientId": id, "username": "u", "password": "p",
		})
		value, _ := answer["credentialsValue"].(map[string]any)
		if answer["status"] != "SUCCESS" || value["clientId"] != id || value["userName"] != "u" || value["password"] != "p" {
			t.Fatalf("answer %v", answer)
		}
		mqttConnect(t, a.doors.MQTT, mqttHello{clientID: id, username: "u", password: "p"}).ping()
	})
	t.Run("M77 nothing else", func(t *testing.T) {
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: "provision"})
		if reason := client.publish(mqttTelemetryTopic, `{"t":1}`); reason != 0x90 {
			t.Fatalf("PUBACK %#x", reason)
		}
		client.closed()
	})
	t.Run("M78 incomplete", func(t *testing.T) {
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: "provision"})
		if reason := client.publish("/provision/request", `{"provisionDeviceKey":"`+key+`"}`); reason != 0x83 {
			t.Fatalf("PUBACK %#x", reason)
		}
		client.closed()
	})
}

// mqttProfiles are the cases of what a profile says of the transport.
func mqttProfiles(t *testing.T, a *deviceAPI) {
	t.Run("M12 for another transport", func(t *testing.T) {
		_, token := a.device(t, a.profile(t, "COAP", nil))
		for version, code := range map[byte]byte{mqtt311: 3, mqtt5: 0x88} {
			if _, got := mqttOpen(t, a.doors.MQTT, mqttHello{version: version, username: token}); got != code {
				t.Fatalf("CONNACK %#x, want %#x", got, code)
			}
		}
	})
	t.Run("M38 malformed is acknowledged", func(t *testing.T) {
		_, token := a.device(t, a.profile(t, "MQTT", map[string]any{"type": "MQTT", "sendAckOnValidationException": true}))
		client := mqttConnect(t, a.doors.MQTT, mqttHello{username: token})
		client.publish(mqttTelemetryTopic, `hello world`)
		client.ping()
	})
	t.Run("M56 own topics", func(t *testing.T) {
		device, token := a.device(t, a.profile(t, "MQTT", map[string]any{"type": "MQTT", "deviceTelemetryTopic": "sensors/+/data"}))
		client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
		client.publish("sensors/a/data", `{"t":1}`)
		if reason := client.publish(mqttTelemetryTopic, `{"t":2}`); reason != 0x90 {
			t.Fatalf("PUBACK %#x", reason)
		}
		a.stored(t, device, "t", point{Value: json.Number("1")})
	})
	for _, compatible := range []bool{false, true} {
		t.Run(map[bool]string{false: "M57 protobuf", true: "M57 protobuf or JSON"}[compatible], func(t *testing.T) {
			device, token := a.device(t, a.profile(t, "MQTT", map[string]any{"type": "MQTT", "transportPayloadTypeConfiguration": map[string]any{
				"transportPayloadType":                     "PROTOBUF",
				"deviceTelemetryProtoSchema":               `syntax = "proto3"; message Reading { double t = 1; }`,
				"deviceAttributesProtoSchema":              `syntax = "proto3"; message State { string fw = 1; }`,
				"enableCompatibilityWithJsonPayloadFormat": compatible,
			}}))
			client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
			if reason := client.publish(mqttTelemetryTopic, "\x09\x00\x00\x00\x00\x00\x00\xf8\x3f"); reason != 0 {
				t.Fatalf("PUBACK %#x", reason)
			}
			a.stored(t, device, "t", point{Value: json.Number("1.5")})
			want := byte(0x99)
			if compatible {
				want = 0
			}
			if reason := client.publish(mqttTelemetryTopic, `{"t":2.5}`); reason != want {
				t.Fatalf("PUBACK %#x of JSON, want %#x", reason, want)
			}
			if compatible {
				a.stored(t, device, "t", point{Value: json.Number("2.5")}, point{Value: json.Number("1.5")})
			}
		})
	}
}
