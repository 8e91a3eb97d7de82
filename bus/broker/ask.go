package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// line is the janitor's connection to the broker it looks after: one question at a time, in versions of the protocol that
// have no tagged fields. A client's pools and retries would be half as much code again in the binary as the broker.
type line struct {
	address   string
	formatter *kmsg.RequestFormatter
	conn      net.Conn // nil: none, or the last one failed
	number    int32
	buffer    []byte
}

// askTime bounds one question.
const askTime = 10 * time.Second

func newLine(address string) *line {
	return &line{address: address, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("sluice-janitor"))}
}

// ask sends q, whose version is set, and reads the answer into a.
func (l *line) ask(ctx context.Context, q kmsg.Request, a kmsg.Response) error {
	err := l.exchange(ctx, q, a)
	if err != nil {
		return errors.Join(err, l.close())
	}
	return nil
}

func (l *line) exchange(ctx context.Context, q kmsg.Request, a kmsg.Response) error {
	if l.conn == nil {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", l.address)
		if err != nil {
			return err
		}
		l.conn = conn
	}
	interrupt := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) }) // what waits fails then
	defer interrupt()
	if err := l.conn.SetDeadline(time.Now().Add(askTime)); err != nil {
		return err
	}
	l.number++
	l.buffer = l.formatter.AppendRequest(l.buffer[:0], q, l.number)
	if _, err := l.conn.Write(l.buffer); err != nil {
		return fmt.Errorf("ask the broker: %w", err)
	}
	var head [8]byte
	if _, err := io.ReadFull(l.conn, head[:]); err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	length := int64(binary.BigEndian.Uint32(head[:])) - 4
	if number := int32(binary.BigEndian.Uint32(head[4:])); number != l.number || length < 0 {
		return fmt.Errorf("the broker answered question %d in %d bytes, not %d", number, length, l.number)
	}
	body, err := io.ReadAll(io.LimitReader(l.conn, length))
	if err == nil && int64(len(body)) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	a.SetVersion(q.GetVersion())
	return a.ReadFrom(body)
}

func (l *line) close() error {
	if l.conn == nil {
		return nil
	}
	err := l.conn.Close()
	l.conn = nil
	return err
}
