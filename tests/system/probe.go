package system

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Answers is how one reading was answered on each protocol.
type Answers struct {
	MQTT3 string // "acknowledged", "closed", "silent", or "connect N" for the code a CONNECT was refused with
	MQTT5 string // the same, or "reason N" for a PUBACK that refuses
	HTTP  string // status, and Retry-After where there is one
	CoAP  string // "acknowledged", "answered C.DD", or why there was no answer
}

// All returns whether every answer is one of those given for its protocol.
func (a Answers) All(mqtt3, mqtt5, http, coap string) error {
	for _, pair := range [...][2]string{{a.MQTT3, mqtt3}, {a.MQTT5, mqtt5}, {a.HTTP, http}, {a.CoAP, coap}} {
		allowed := strings.Split(pair[1], "|")
		ok := false
		for _, one := range allowed {
			ok = ok || pair[0] == one
		}
		if !ok {
			return fmt.Errorf("answered %+v, where %q is wanted for %q", a, pair[1], pair[0])
		}
	}
	return nil
}

// Accepted returns nil when all four protocols took the reading.
func (a Answers) Accepted() error {
	return a.All("acknowledged", "acknowledged", "200", "acknowledged")
}

// Refused returns nil when all four protocols said that the platform cannot take the reading now.
func (a Answers) Refused() error {
	return a.All("closed|connect 3", "reason 131|connect 136", "503 retry", "answered 5.03")
}

// patience is how long a probe waits for its answer: longer than the platform may take to refuse.
const patience = 12 * time.Second

// Probe sends one reading per protocol with each its own fresh connection, one after the other.
func Probe(ctx context.Context, doors Doors, token string) Answers {
	body := []byte(`{"probe":1}`)
	return Answers{
		MQTT3: probeMQTT(ctx, doors.MQTT, token, 4, body),
		MQTT5: probeMQTT(ctx, doors.MQTT, token, 5, body),
		HTTP:  probeHTTP(ctx, doors.HTTP, token, body),
		CoAP:  probeCoAP(ctx, doors.CoAP, token, body),
	}
}

func probeHTTP(ctx context.Context, address, token string, body []byte) string {
	url := "http://" + address + "/api/v1/" + token + "/telemetry"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		return err.Error()
	}
	answer, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return err.Error()
	}
	answer.Body.Close()
	text := fmt.Sprint(answer.StatusCode)
	if after := answer.Header.Get("Retry-After"); after != "" {
		text += " retry"
	}
	return text
}

func probeCoAP(ctx context.Context, address, token string, body []byte) string {
	link := &coapLink{address: address, token: token, wait: patience}
	defer link.close()
	if _, err := link.exchange(ctx, [][]byte{body}); err != nil {
		return err.Error()
	}
	return "acknowledged"
}

// probeMQTT connects with protocol version 4 (3.1.1) or 5 and publishes once with QoS 1.
func probeMQTT(ctx context.Context, address, token string, version byte, body []byte) string {
	conn, code, err := dialMQTT(ctx, address, token, version)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if code != 0 {
		return fmt.Sprintf("connect %d", code)
	}
	payload := body
	if version == 5 {
		payload = append([]byte{0}, body...) // no properties
	}
	if _, err := conn.Write(appendPublish(nil, "v1/devices/me/telemetry", 1, payload)); err != nil {
		return err.Error()
	}
	return pubackOf(conn)
}

// dialMQTT connects and returns the code of CONNACK.
func dialMQTT(ctx context.Context, address, token string, version byte) (net.Conn, byte, error) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, 0, err
	}
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', version, 0x82, 0, 60}
	if version == 5 {
		body = append(body, 0) // no properties
	}
	body = appendText(appendText(body, ""), token)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, 0, err
	}
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return nil, 0, err
	}
	kind, rest, err := readPacket(conn)
	if err != nil {
		return nil, 0, err
	}
	if kind != 0x20 || len(rest) < 2 {
		return nil, 0, fmt.Errorf("not a CONNACK: % x % x", kind, rest)
	}
	return conn, rest[1], nil
}

func pubackOf(conn net.Conn) string {
	kind, rest, err := readPacket(conn)
	timeout, isNet := err.(net.Error)
	switch {
	case isNet && timeout.Timeout():
		return "silent"
	case err != nil, kind == 0xe0: // the end, told by DISCONNECT or not
		return "closed"
	case kind != 0x40:
		return fmt.Sprintf("packet %x", kind)
	case len(rest) > 2 && rest[2] >= 0x80:
		return fmt.Sprintf("reason %d", rest[2])
	}
	return "acknowledged"
}

// readPacket reads one packet byte by byte: what comes after it stays in the connection.
func readPacket(conn net.Conn) (kind byte, rest []byte, err error) {
	in := bufio.NewReaderSize(oneByte{conn}, 16)
	if kind, err = in.ReadByte(); err != nil {
		return 0, nil, err
	}
	length, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, nil, err
	}
	rest = make([]byte, length)
	_, err = io.ReadFull(in, rest)
	return kind, rest, err
}

// oneByte hands out one byte at a time, so that a buffered reader never reads ahead.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }
