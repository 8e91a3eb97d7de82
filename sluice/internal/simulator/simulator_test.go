package simulator

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
	"go.uber.org/goleak"
)

// The platforms below understand just enough of each protocol to take readings; each refuses or
// loses its first one, as a device must expect.

func TestDevicesAreAcknowledged(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	readings := make(chan string, 100)
	at := Addresses{MQTT: mqttPlatform(t, readings), HTTP: httpPlatform(t, readings), CoAP: coapPlatform(t, readings)}
	sensors := []Sensor{{Key: "temperature", Middle: 20, Swing: 5, Period: time.Minute}, {Key: "humidity", Middle: 50, Period: time.Minute}}
	devices := []Device{
		{Name: "A", Token: "A_TOKEN", Protocol: MQTT, Sensors: sensors},
		{Name: "B", Token: "B_TOKEN", Protocol: HTTP, Sensors: sensors},
		{Name: "C", Token: "C_TOKEN", Protocol: CoAP, Sensors: sensors},
	}
	simulator := New(devices, at, 5*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- simulator.Run(ctx) }()
	seen := map[string]int{}
	for len(seen) < 3 || seen["A_TOKEN"] < 3 || seen["B_TOKEN"] < 3 || seen["C_TOKEN"] < 3 {
		select {
		case got := <-readings:
			token, payload, _ := strings.Cut(got, " ")
			var values map[string]float64
			if err := json.Unmarshal([]byte(payload), &values); err != nil || values["humidity"] != 50 || values["temperature"] < 20 {
				t.Fatalf("%s sent %s: %v", token, payload, err)
			}
			seen[token]++
		case <-time.After(20 * time.Second):
			t.Fatalf("readings came only from %v", seen)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if simulator.Acknowledged() < 9-3 || simulator.Failed() == 0 {
		t.Errorf("acknowledged %d, failed %d", simulator.Acknowledged(), simulator.Failed())
	}
}

func TestAnUnreachablePlatformIsTriedAgain(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	simulator := New([]Device{{Token: "A", Protocol: MQTT}, {Token: "B", Protocol: "pigeon"}}, Addresses{MQTT: "127.0.0.1:1"}, time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- simulator.Run(ctx) }()
	for simulator.Failed() < 4 {
		time.Sleep(time.Millisecond)
	}
	stop()
	<-ended
	if simulator.Acknowledged() != 0 {
		t.Error("nobody acknowledged, yet it was counted")
	}
}

func httpPlatform(t *testing.T, readings chan<- string) string {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		readings <- strings.Split(r.URL.Path, "/")[3] + " " + string(body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// mqttPlatform closes its first connection at the first PUBLISH.
func mqttPlatform(t *testing.T, readings chan<- string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serveMQTT(t, conn, n > 0, readings)
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

func serveMQTT(t *testing.T, conn net.Conn, acknowledge bool, readings chan<- string) {
	reader := bufio.NewReader(conn)
	token := ""
	for {
		p, body, err := readPacket(reader)
		if err != nil {
			return
		}
		switch p.FixedHeader.Type {
		case packets.Connect:
			if err := p.ConnectDecode(body); err != nil {
				t.Error(err)
			}
			token = string(p.Connect.Username)
			conn.Write([]byte{packets.Connack << 4, 2, 0, 0})
		case packets.Publish:
			if err := p.PublishDecode(body); err != nil || p.TopicName != mqttTopic {
				t.Errorf("publish on %q: %v", p.TopicName, err)
			}
			if !acknowledge {
				return
			}
			readings <- token + " " + string(p.Payload)
			conn.Write([]byte{packets.Puback << 4, 2, byte(p.PacketID >> 8), byte(p.PacketID)})
		case packets.Disconnect:
			return
		}
	}
}

func readPacket(reader *bufio.Reader) (p packets.Packet, body []byte, err error) {
	first, err := reader.ReadByte()
	if err != nil {
		return p, nil, err
	}
	if err := p.FixedHeader.Decode(first); err != nil {
		return p, nil, err
	}
	length, _, err := packets.DecodeLength(reader)
	if err != nil {
		return p, nil, err
	}
	p.ProtocolVersion, p.FixedHeader.Remaining = mqttVersion, length
	body = make([]byte, length)
	_, err = io.ReadFull(reader, body)
	return p, body, err
}

// coapPlatform resets the first request, answers the second beside its acknowledgement and the
// others after it.
func coapPlatform(t *testing.T, readings chan<- string) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, maxDatagram)
		for requests := 0; ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			m := message.Message{Options: make(message.Options, 0, maxOptions)}
			if _, err := coder.DefaultCoder.Decode(bytes.Clone(buffer[:n]), &m); err != nil {
				t.Error(err)
				continue
			}
			if m.Type != message.Confirmable {
				continue // the acknowledgement of a separate response
			}
			requests++
			for _, answer := range answersTo(t, m, requests, readings) {
				n, err := coder.DefaultCoder.Encode(answer, buffer)
				if err != nil {
					t.Error(err)
				}
				conn.WriteTo(buffer[:n], from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func answersTo(t *testing.T, m message.Message, requests int, readings chan<- string) []message.Message {
	path, err := m.Options.Path()
	if err != nil {
		t.Error(err)
	}
	if requests == 1 {
		return []message.Message{{Type: message.Reset, MessageID: m.MessageID}}
	}
	readings <- strings.Split(strings.TrimPrefix(path, "/"), "/")[2] + " " + string(m.Payload)
	if requests == 2 {
		return []message.Message{{Type: message.Acknowledgement, Code: codes.Created, MessageID: m.MessageID, Token: m.Token}}
	}
	return []message.Message{
		{Type: message.Acknowledgement, Code: codes.Empty, MessageID: m.MessageID},
		{Type: message.Confirmable, Code: codes.Created, MessageID: int32(requests), Token: m.Token},
	}
}
