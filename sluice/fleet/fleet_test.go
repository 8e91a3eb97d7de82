package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/sluice/internal/simulator"
)

// configured fills in the defaults of a member on the brokers given, with listeners at free ports.
func configured(t *testing.T, member any, m *Member, node, broker string) {
	t.Helper()
	if err := settings.Defaults(member, nil); err != nil {
		t.Fatal(err)
	}
	m.NodeID, m.Bus.Brokers, m.Process.Admin.Listen = node, []string{broker}, "127.0.0.1:0"
}

// run runs a member until the test ends and returns what it announced.
func run(t *testing.T, member process.Command) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := member.Run(ctx, process.Invocation{Stdout: in, Stderr: &log})
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("%T logged:\n%s", member, &log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		ended <- fmt.Errorf("it announced nothing: %w", <-ended)
		t.FailNow()
	}
	return line
}

var address = regexp.MustCompile(`(MQTT |HTTP http://|CoAP coap://|operators http://)([0-9.:]+)`)

// at returns an address out of an announcement.
func at(t *testing.T, announced, what string) string {
	t.Helper()
	for _, match := range address.FindAllStringSubmatch(announced, -1) {
		if strings.HasPrefix(match[1], what) {
			return match[2]
		}
	}
	t.Fatalf("no %s in %q", what, announced)
	return ""
}

// A fleet of one each, installed first, takes devices' readings of all three protocols to whoever asks for them.
func TestMembersMakeAPlatform(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t, before)
	})
	broker := bustest.Broker(t)

	installation := &Install{}
	if err := settings.Defaults(installation, nil); err != nil {
		t.Fatal(err)
	}
	installation.Bus.Brokers, installation.Partitions = []string{broker}, bustest.Partitions
	for range 2 { // a second time finds everything there
		var said bytes.Buffer
		if err := installation.Run(t.Context(), process.Invocation{Stdout: &said, Stderr: io.Discard}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), "Installed.") {
			t.Errorf("it said %q", &said)
		}
	}

	core := &CoreNode{}
	configured(t, core, &core.Member, "core", broker)
	core.HTTPListen, core.Core.Demo, core.Core.DataDir = "127.0.0.1:0", true, t.TempDir()
	people := "http://" + at(t, run(t, core), "HTTP")
	mqtt := &MQTTTransport{}
	configured(t, mqtt, &mqtt.Member, "mqtt", broker)
	mqtt.MQTT.Listen, mqtt.WebSocket = "127.0.0.1:0", ""
	web := &HTTPTransport{}
	configured(t, web, &web.Member, "http", broker)
	web.HTTP.Listen = "127.0.0.1:0"
	coap := &CoAPTransport{}
	configured(t, coap, &coap.Member, "coap", broker)
	coap.CoAP.Listen = "127.0.0.1:0"
	doors := simulator.Addresses{MQTT: at(t, run(t, mqtt), "MQTT"), HTTP: at(t, run(t, web), "HTTP"), CoAP: at(t, run(t, coap), "CoAP")}

	var devices []simulator.Device
	for name, protocol := range map[string]simulator.Protocol{"A1": simulator.MQTT, "B1": simulator.HTTP, "C1": simulator.CoAP} {
		devices = append(devices, simulator.Device{
			Name: "Test Device " + name, Token: name + "_TEST_TOKEN", Protocol: protocol,
			Sensors: []simulator.Sensor{{Key: "n", Middle: 1, Swing: 1, Period: time.Second}},
		})
	}
	sending, stop := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- simulator.New(devices, doors, 20*time.Millisecond).Run(sending) }()
	token := logIn(t, people)
	for _, d := range devices {
		awaitReading(t, people, token, d.Name)
	}
	stop()
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func logIn(t *testing.T, people string) string {
	t.Helper()
	answer, err := http.Post(people+"/api/auth/login", "application/json", strings.NewReader(`{"username":"tenant@thingsboard.org","password":"tenant"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var tokens struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&tokens); err != nil || tokens.Token == "" {
		t.Fatalf("log in: %s, %v", answer.Status, err)
	}
	return tokens.Token
}

func get(t *testing.T, url, token string, answer any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
}

func awaitReading(t *testing.T, people, token, name string) {
	t.Helper()
	var device struct {
		ID struct{ ID string }
	}
	get(t, people+"/api/tenant/devices?deviceName="+strings.ReplaceAll(name, " ", "%20"), token, &device)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var latest map[string][]struct{ Value any }
		get(t, people+"/api/plugins/telemetry/DEVICE/"+device.ID.ID+"/values/timeseries?keys=n", token, &latest)
		if len(latest["n"]) > 0 && latest["n"][0].Value != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no reading of %s: %v", name, latest)
		}
	}
}

func TestSettingsThatCannotWorkStopTheStart(t *testing.T) {
	broker := bustest.Broker(t)
	i := &Install{}
	if err := settings.Defaults(i, nil); err != nil {
		t.Fatal(err)
	}
	i.Bus.Brokers, i.Partitions = []string{broker}, 0
	if err := i.Run(t.Context(), process.Invocation{Stdout: io.Discard, Stderr: io.Discard}); err == nil || !strings.Contains(err.Error(), "--partitions") {
		t.Errorf("no partitions: %v", err)
	}
	web := &HTTPTransport{}
	configured(t, web, &web.Member, "http", broker)
	web.HTTP.Listen = "no address"
	err := web.Run(t.Context(), process.Invocation{Stdout: io.Discard, Stderr: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("an address that cannot be bound: %v", err)
	}
}
