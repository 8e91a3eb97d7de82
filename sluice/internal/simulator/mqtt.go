package simulator

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	mqttVersion   = 4 // MQTT 3.1.1
	mqttKeepAlive = 60
	mqttTopic     = "v1/devices/me/telemetry"
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
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.CleanSession, connect.Keepalive = "MQTT", mqttVersion, true, mqttKeepAlive
	connect.UsernameFlag, connect.Username = true, token
	answer, err := exchange[*packets.ConnackPacket](ctx, l, connect)
	if err != nil {
		return err
	}
	if answer.ReturnCode != packets.Accepted {
		return fmt.Errorf("refused with code %d", answer.ReturnCode)
	}
	return nil
}

func (l *mqttLink) send(ctx context.Context, payload []byte) error {
	l.lastID = l.lastID%0xffff + 1 // 0 is no packet identifier
	publish := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	publish.Qos, publish.TopicName, publish.MessageID, publish.Payload = 1, mqttTopic, l.lastID, payload
	answer, err := exchange[*packets.PubackPacket](ctx, l, publish)
	if err != nil {
		return fmt.Errorf("publish a reading: %w", err)
	}
	if answer.MessageID != l.lastID {
		return fmt.Errorf("publish a reading: %d was acknowledged instead of %d", answer.MessageID, l.lastID)
	}
	return nil
}

// exchange writes a packet and reads the next one, which must be of the type wanted.
func exchange[Wanted packets.ControlPacket](ctx context.Context, l *mqttLink, packet packets.ControlPacket) (answer Wanted, err error) {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) }) // a closed connection needs none
	defer stop()
	if err := packet.Write(l.conn); err != nil {
		return answer, err
	}
	read, err := packets.ReadPacket(l.reader)
	if err != nil {
		return answer, err
	}
	answer, wanted := read.(Wanted)
	if !wanted {
		return answer, fmt.Errorf("a packet that was not asked for: %s", read)
	}
	return answer, nil
}

// close ends the session as a device that goes to sleep does.
func (l *mqttLink) close() {
	_ = l.conn.SetWriteDeadline(time.Now().Add(time.Second)) // if it cannot be set, the connection is gone
	_ = packets.NewControlPacket(packets.Disconnect).Write(l.conn)
	_ = l.conn.Close()
}
