package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// HTTP posts o.Payload over HTTP/1.1, one request at a time per keep-alive connection.
func HTTP(ctx context.Context, o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	clients := make([]client, o.Clients)
	for i := range clients {
		path := strings.ReplaceAll(o.Path, "{token}", o.Token(i))
		head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, o.Address, len(o.Payload))
		clients[i] = &httpClient{address: o.Address, request: append([]byte(head), o.Payload...)}
	}
	return run(ctx, o, clients)
}

type httpClient struct {
	tally
	address string
	request []byte
	httpConn
}

// httpConn is a keep-alive connection that carries one request at a time.
type httpConn struct {
	conn   net.Conn
	buffer [4096]byte
}

func (c *httpClient) open(ctx context.Context) error { return c.dial(ctx, c.address) }

func (c *httpConn) dial(ctx context.Context, address string) (err error) {
	var d net.Dialer
	c.conn, err = d.DialContext(ctx, "tcp", address)
	return err
}

func (c *httpClient) run(b *budget) error {
	for b.next() {
		sent := time.Now()
		status, _, err := c.exchange(c.request)
		switch {
		case err != nil:
			c.lost++
			return fmt.Errorf("http: %w", err)
		case status/100 == 2:
			c.acknowledged++
			c.latency.Add(time.Since(sent), 1)
		default:
			c.refused++
		}
	}
	return nil
}

// exchange sends the request and reads the whole response, whose length must be stated. The body is good until the next.
func (c *httpConn) exchange(request []byte) (status int, body []byte, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
	held := 0
	for {
		n, err := c.conn.Read(c.buffer[held:])
		if err != nil {
			return 0, nil, fmt.Errorf("response: %w", err)
		}
		held += n
		head, body, whole := bytes.Cut(c.buffer[:held], []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		status, length, err := readHead(head)
		if err != nil {
			return status, nil, err
		}
		if len(body) >= length {
			return status, body[:length], nil
		}
	}
}

const contentLength = "content-length:"

// readHead reads a response's status and content length.
func readHead(head []byte) (status, length int, err error) {
	if len(head) < len("HTTP/1.1 200") {
		return 0, 0, fmt.Errorf("no response: %q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, 0, fmt.Errorf("no response: %q", head)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > len(contentLength) && strings.EqualFold(string(line[:len(contentLength)]), contentLength) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):])))
			return status, length, err
		}
	}
	if status == 204 {
		return status, 0, nil
	}
	return 0, 0, fmt.Errorf("response without a length: %q", head)
}

func (c *httpConn) close() {
	if c.conn != nil {
		// Every response was read, or the run is over.
		_ = c.conn.Close()
	}
}

func (c *httpClient) count() *tally { return &c.tally }
