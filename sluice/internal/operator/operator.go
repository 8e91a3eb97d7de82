// Package operator talks to a running node's admin listener on behalf of a person.
package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/sluice/standalone"
)

const (
	timeout   = 60 * time.Second
	maxAnswer = 64 << 20 // bytes; a list is bounded by the node
)

// Node is the node to talk to.
type Node struct {
	Data  string `name:"data" help:"Data folder of a standalone node on this machine; it is talked to through the socket in there."`
	Admin string `name:"admin" default:"127.0.0.1:9090" help:"Admin listener of the node, when --data is not given."`
	Token string `name:"admin-token" help:"The node's admin token, if it has one."`
}

// Ask makes one request and returns the answer's body.
func (n Node) Ask(ctx context.Context, method, path string) (body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	host := n.Admin
	if n.Data != "" {
		host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.Data, standalone.SocketName))
		}
	}
	at, err := url.Parse(path) // with its query
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	at.Scheme, at.Host = "http", host
	request, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	if n.Token != "" {
		request.Header.Set("Authorization", "Bearer "+n.Token)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the node's answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the node answered %s: %s", response.Status, reason(body))
	}
	return body, nil
}

// reason is what an error's body says: plain text, or JSON with the field error.
func reason(body []byte) string {
	var told struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &told) == nil && told.Error != "" {
		return told.Error
	}
	return strings.TrimSpace(string(body))
}
