package part

import (
	"context"
	"fmt"
	"path/filepath"
)

// NewMosquitto installs mosquitto where that is needed and prepares it in dir as its fastest self: anyone may
// connect, nothing is kept, no Nagle, no bound on what is in flight.
func NewMosquitto(ctx context.Context, dir string) (*Single, error) {
	if err := debian(ctx, needed{"mosquitto", "mosquitto"}); err != nil {
		return nil, err
	}
	address, err := FreeAddress("tcp")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "mosquitto")
	host, port := split(address)
	err = folder(dir, map[string]string{"mosquitto.conf": fmt.Sprintf(
		"listener %s %s\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_inflight_messages 0\nlog_type error\n", port, host)})
	if err != nil {
		return nil, fmt.Errorf("prepare mosquitto: %w", err)
	}
	connect := []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
	return &Single{address: address, Process: NewProcess(Command{
		Name: "mosquitto", Program: find("mosquitto"), Args: []string{"-c", "mosquitto.conf"}, Dir: dir,
		Ready: func(ctx context.Context) error { return ask(ctx, address, connect, "\x20\x02\x00\x00") },
	})}, nil
}
