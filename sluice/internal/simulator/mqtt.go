package simulator

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	mqttVersion   = 4 // MQTT 3.1.1
	mqttKeepAlive = 60
	mqttTopic     = "v1/devices/me/telemetry"
	// maxAnswerBytes bounds what is read of one packet: only CONNACK and PUBACK are expected.
	maxAnswerBytes = 1 << 10
)

// mqttLink publishes with QoS 1, one reading at a time.
type mqttLink struct {
	conn   net.Conn
	reader *bufio.Reader
	lastID uint16
}

func dialMQTT(ctx context.Context, address, token string) (*mqttLink, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l := &mqttLink{conn: conn, reader: bufio.NewReaderSize(conn, 64)}
	if err := l.connect(ctx, token); err != nil {
		l.close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return l, nil
}

func (l *mqttLink) connect(ctx context.Context, token string) error {
	connect := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connect},
		ProtocolVersion: mqttVersion,
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"),
			Clean:        true,
			Keepalive:    mqttKeepAlive,
			UsernameFlag: true,
			Username:     []byte(token),
		},
	}
	var out bytes.Buffer
	if err := connect.ConnectEncode(&out); err != nil {
		return err
	}
	answer, body, err := l.exchange(ctx, out.Bytes(), packets.Connack)
	if err != nil {
		return err
	}
	if err := answer.ConnackDecode(body); err != nil {
		return err
	}
	if answer.ReasonCode != 0 {
		return fmt.Errorf("refused with code %d", answer.ReasonCode)
	}
	return nil
}

func (l *mqttLink) send(ctx context.Context, payload []byte) error {
	l.lastID = l.lastID%0xffff + 1 // 0 is no packet identifier
	publish := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: 1},
		ProtocolVersion: mqttVersion,
		TopicName:       mqttTopic,
		PacketID:        l.lastID,
		Payload:         payload,
	}
	var out bytes.Buffer
	if err := publish.PublishEncode(&out); err != nil {
		return fmt.Errorf("publish a reading: %w", err)
	}
	answer, body, err := l.exchange(ctx, out.Bytes(), packets.Puback)
	if err == nil {
		err = answer.PubackDecode(body)
	}
	if err != nil {
		return fmt.Errorf("publish a reading: %w", err)
	}
	if answer.PacketID != l.lastID {
		return fmt.Errorf("publish a reading: %d was acknowledged instead of %d", answer.PacketID, l.lastID)
	}
	return nil
}

// exchange writes a packet and reads the next one, which must be of the type wanted.
func (l *mqttLink) exchange(ctx context.Context, packet []byte, want byte) (answer packets.Packet, body []byte, err error) {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) }) // a closed connection needs none
	defer stop()
	if _, err := l.conn.Write(packet); err != nil {
		return answer, nil, err
	}
	first, err := l.reader.ReadByte()
	if err != nil {
		return answer, nil, err
	}
	if err := answer.FixedHeader.Decode(first); err != nil {
		return answer, nil, err
	}
	length, _, err := packets.DecodeLength(l.reader)
	if err != nil {
		return answer, nil, err
	}
	if answer.FixedHeader.Type != want || length > maxAnswerBytes {
		return answer, nil, fmt.Errorf("packet of type %d and %d bytes, want one of type %d", answer.FixedHeader.Type, length, want)
	}
	answer.ProtocolVersion, answer.FixedHeader.Remaining = mqttVersion, length
	body = make([]byte, length)
	_, err = io.ReadFull(l.reader, body)
	return answer, body, err
}

// close ends the session as a device that goes to sleep does.
func (l *mqttLink) close() {
	disconnect := []byte{packets.Disconnect << 4, 0}
	_ = l.conn.SetWriteDeadline(time.Now().Add(time.Second)) // if it cannot be set, the connection is gone
	_, _ = l.conn.Write(disconnect)
	_ = l.conn.Close()
}
