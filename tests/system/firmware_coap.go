package system

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// coapLink sends confirmable POSTs (RFC 7252). It transmits once and leaves sending again to
// the firmware, so that the ledger counts every copy.
type coapLink struct {
	address, token string
	wait           time.Duration // for an answer
	conn           net.Conn
	messageID      uint16
}

// NewCoAPFirmware returns a device that posts to address.
func NewCoAPFirmware(f Firmware, address string) *Firmware {
	f.link = &coapLink{address: address, token: f.Token, wait: answerTime}
	return &f
}

func (l *coapLink) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

func (l *coapLink) exchange(ctx context.Context, readings [][]byte) (int, error) {
	if l.conn == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "udp", l.address)
		if err != nil {
			return 0, err
		}
		var start [2]byte
		if _, err := rand.Read(start[:]); err != nil {
			return 0, err
		}
		l.conn, l.messageID = conn, binary.BigEndian.Uint16(start[:])
	}
	for i, reading := range readings {
		if err := l.post(reading); err != nil {
			l.close()
			return i, err
		}
	}
	return len(readings), nil
}

func (l *coapLink) post(reading []byte) error {
	l.messageID++
	token := byte(l.messageID)
	packet := []byte{0x41, 0x02, byte(l.messageID >> 8), byte(l.messageID), token} // CON, token of 1 byte, POST
	for i, segment := range []string{"api", "v1", l.token, "telemetry"} {
		delta := byte(0) // Uri-Path is option 11
		if i == 0 {
			delta = 11
		}
		if len(segment) > 12 {
			packet = append(packet, delta<<4|13, byte(len(segment)-13))
		} else {
			packet = append(packet, delta<<4|byte(len(segment)))
		}
		packet = append(packet, segment...)
	}
	packet = append(append(packet, 0xff), reading...)
	if _, err := l.conn.Write(packet); err != nil {
		return err
	}
	return l.await(token)
}

// await reads until the answer with token is there, acknowledging a separate one.
func (l *coapLink) await(token byte) error {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.wait)); err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	for {
		n, err := l.conn.Read(buffer)
		if err != nil {
			return err
		}
		if n < 4 {
			return errors.New("short CoAP message")
		}
		kind, code := buffer[0]>>4&3, buffer[1]
		if kind == 0 { // a separate answer wants an acknowledgement
			if _, err := l.conn.Write([]byte{0x60, 0, buffer[2], buffer[3]}); err != nil {
				return err
			}
		}
		if code == 0 || buffer[0]&0xf != 1 || n < 5 || buffer[4] != token {
			continue // an empty acknowledgement, or the answer to an earlier request
		}
		if code>>5 != 2 {
			return fmt.Errorf("answered %d.%02d", code>>5, code&0x1f)
		}
		return nil
	}
}
