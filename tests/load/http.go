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
	conn    net.Conn
	buffer  [4096]byte
}

func (c *httpClient) open(ctx context.Context) (err error) {
	var d net.Dialer
	c.conn, err = d.DialContext(ctx, "tcp", c.address)
	return err
}

func (c *httpClient) run(b *budget) error {
	for b.next() {
		sent := time.Now()
		status, err := c.exchange()
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

// exchange sends the request and reads the whole response, whose length must be stated.
func (c *httpClient) exchange() (status int, err error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	held := 0
	for {
		n, err := c.conn.Read(c.buffer[held:])
		if err != nil {
			return 0, fmt.Errorf("response: %w", err)
		}
		held += n
		head, body, whole := bytes.Cut(c.buffer[:held], []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		status, length, err := readHead(head)
		if err != nil || len(body) >= length {
			return status, err
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

func (c *httpClient) close() {
	if c.conn != nil {
		// Every response was read, or the run is over.
		_ = c.conn.Close()
	}
}

func (c *httpClient) count() *tally { return &c.tally }
