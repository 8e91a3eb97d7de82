package main

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/standalone"
)

// welcome says where everything is and what to try.
func welcome(out io.Writer, data string, at standalone.Addresses, env process.Env, took time.Duration) error {
	mqttHost, mqttPort := split(at.MQTT)
	text := fmt.Sprintf(`Sluice demo, started in %d ms. Everything is in this process; the data is in %s.

  MQTT       %s  (over WebSocket: ws://%s/mqtt)
  HTTP       http://%s  (devices, REST and WebSocket)
  CoAP       coap://%s
  operators  %s/metrics

People                                               Devices' tokens
  sysadmin@thingsboard.org / sysadmin                  A1_TEST_TOKEN  A2_TEST_TOKEN  A3_TEST_TOKEN  B1_TEST_TOKEN
  tenant@thingsboard.org / tenant                      C1_TEST_TOKEN  T1_TEST_TOKEN  T2_TEST_TOKEN
  customer@thingsboard.org / customer                  DHT11_DEMO_TOKEN  RASPBERRY_PI_DEMO_TOKEN

Try, in another terminal
  mosquitto_pub -h %s -p %s -q 1 -u A1_TEST_TOKEN -t v1/devices/me/telemetry -m '{"temperature":21.5}'
  curl http://%s/api/v1/A1_TEST_TOKEN/telemetry -d '{"temperature":22}'
  coap-client -m post coap://%s/api/v1/A1_TEST_TOKEN/telemetry -e '{"temperature":22.5}'
  TOKEN=$(curl -s http://%s/api/auth/login -H 'Content-Type: application/json' -d '{"username":"tenant@thingsboard.org","password":"tenant"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  curl -s -H "X-Authorization: Bearer $TOKEN" 'http://%s/api/tenant/devices?pageSize=10&page=0'

`, took.Milliseconds(), data, at.MQTT, at.HTTP, at.HTTP, at.CoAP, adminURL(env), mqttHost, mqttPort, at.HTTP, at.CoAP, at.HTTP, at.HTTP)
	_, err := io.WriteString(out, text)
	return err
}

func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	return host, port
}
