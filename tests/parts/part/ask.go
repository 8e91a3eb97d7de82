package part

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// ask sends request to address and reads until the answer starts with, or contains, want.
// It is how the readiness of the smaller programs is asked in their own protocol.
func ask(ctx context.Context, address string, request []byte, want string) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var answer []byte
	buffer := make([]byte, 4096)
	for !bytes.Contains(answer, []byte(want)) {
		n, err := conn.Read(buffer)
		answer = append(answer, buffer[:n]...)
		if err == io.EOF || err == nil && len(answer) > 1<<16 {
			return fmt.Errorf("%s answered %.200q, without %q", address, answer, want)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
