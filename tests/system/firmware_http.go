package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

type httpLink struct {
	url    string
	client http.Client
}

// NewHTTPFirmware returns a device that posts to address.
func NewHTTPFirmware(f Firmware, address string) *Firmware {
	f.link = &httpLink{
		url:    "http://" + address + "/api/v1/" + f.Token + "/telemetry",
		client: http.Client{Timeout: answerTime, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
	return &f
}

func (l *httpLink) close() { l.client.CloseIdleConnections() }

func (l *httpLink) exchange(ctx context.Context, readings [][]byte) (int, error) {
	for i, reading := range readings {
		if err := l.post(ctx, reading); err != nil {
			return i, err
		}
	}
	return len(readings), nil
}

func (l *httpLink) post(ctx context.Context, reading []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(reading))
	if err != nil {
		return err
	}
	request.GetBody = nil // the transport must not send a reading again behind the ledger's back
	answer, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("POST answered %s", answer.Status)
	}
	return nil
}
