package system

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// answerTime is how long firmware waits for an answer before it tries again.
const answerTime = 3 * time.Second

// mqttLink speaks MQTT 3.1.1 with QoS 1: it writes the packets by hand, so that it shares no code with the server.
type mqttLink struct {
	address, token string
	conn           net.Conn
	in             *bufio.Reader
	packetID       uint16
}

// NewMQTTFirmware returns a device that publishes to address.
func NewMQTTFirmware(f Firmware, address string) *Firmware {
	f.link = &mqttLink{address: address, token: f.Token}
	return &f
}

func (l *mqttLink) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

func (l *mqttLink) exchange(ctx context.Context, readings [][]byte) (acked int, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.conn == nil {
		if err := l.connect(ctx); err != nil {
			return 0, err
		}
	}
	if err := l.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return 0, err
	}
	first := l.packetID + 1
	var out []byte
	for _, reading := range readings {
		l.packetID++
		if l.packetID == 0 {
			l.packetID = 1
		}
		out = appendPublish(out, "v1/devices/me/telemetry", l.packetID, reading)
	}
	if _, err := l.conn.Write(out); err != nil {
		return 0, err
	}
	for acked < len(readings) {
		id, err := l.puback()
		if err != nil {
			return acked, err
		}
		want := first + uint16(acked)
		if want < first { // packet ids skip 0
			want++
		}
		if id != want {
			return acked, fmt.Errorf("PUBACK of %d, want %d: acknowledgements keep the order of PUBLISH", id, want)
		}
		acked++
	}
	return acked, nil
}

func (l *mqttLink) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: answerTime}
	conn, err := dialer.DialContext(ctx, "tcp", l.address)
	if err != nil {
		return err
	}
	l.conn, l.in, l.packetID = conn, bufio.NewReaderSize(conn, 256), 0
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0x82, 0, 60} // user name, clean session, keep-alive 60 s
	body = appendText(body, "")                              // client id
	body = appendText(body, l.token)                         // user name
	packet := append([]byte{0x10, byte(len(body))}, body...) // shorter than 128 bytes
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	var connack [4]byte
	if _, err := io.ReadFull(l.in, connack[:]); err != nil {
		return err
	}
	if connack[0] != 0x20 || connack[3] != 0 {
		return fmt.Errorf("CONNACK % x", connack)
	}
	return nil
}

// puback reads one PUBACK of MQTT 3.1.1: four bytes, always.
func (l *mqttLink) puback() (uint16, error) {
	var packet [4]byte
	if _, err := io.ReadFull(l.in, packet[:]); err != nil {
		return 0, err
	}
	if packet[0] != 0x40 || packet[1] != 2 {
		return 0, fmt.Errorf("not a PUBACK: % x", packet)
	}
	return binary.BigEndian.Uint16(packet[2:]), nil
}

func appendPublish(out []byte, topic string, id uint16, payload []byte) []byte {
	out = append(out, 0x32) // PUBLISH, QoS 1
	out = binary.AppendUvarint(out, uint64(2+len(topic)+2+len(payload)))
	out = appendText(out, topic)
	out = binary.BigEndian.AppendUint16(out, id)
	return append(out, payload...)
}

func appendText(out []byte, text string) []byte {
	out = binary.BigEndian.AppendUint16(out, uint16(len(text)))
	return append(out, text...)
}
