package simulator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// httpLink posts readings over one connection that is kept alive.
type httpLink struct {
	url    string
	client *http.Client
}

func newHTTPLink(address, token string) *httpLink {
	return &httpLink{
		url:    "http://" + address + telemetryPath(url.PathEscape(token)),
		client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}},
	}
}

// telemetryPath is where HTTP and CoAP devices send readings.
func telemetryPath(token string) string { return "/api/v1/" + token + "/telemetry" }

func (l *httpLink) send(ctx context.Context, payload []byte) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("post a reading: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(request)
	if err != nil {
		return fmt.Errorf("post a reading: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end: nothing is left to go wrong
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Errorf("post a reading: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("post a reading: answered %s", response.Status)
	}
	return nil
}

func (l *httpLink) close() { l.client.CloseIdleConnections() }
