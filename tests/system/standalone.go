package system

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// Standalone is one sluice process on fixed loopback ports.
type Standalone struct {
	*Role
	MQTT, HTTP, CoAP, Kafka string
	MQTTTLS, CoAPS          string // "" without certificates
	binary, data            string
	flags, secure           []string
}

// NewStandalone picks ports and a folder for the data; Start starts the process. flags are further flags.
func NewStandalone(t *testing.T, flags ...string) *Standalone {
	t.Helper()
	binary, err := binaryPath()
	if err != nil {
		t.Fatal(err)
	}
	s := &Standalone{
		MQTT: freeAddress(t, "tcp"), HTTP: freeAddress(t, "tcp"), CoAP: freeAddress(t, "udp"), Kafka: freeAddress(t, "tcp"),
		binary: binary, data: filepath.Join(t.TempDir(), "data"), flags: flags,
	}
	s.Role = newRole(part.Command{Name: "standalone", Program: binary, Dir: t.TempDir(), Patience: 30 * time.Second}, freeAddress(t, "tcp"))
	s.Set(flags...)
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("output of the process:\n%s", s.Output())
		}
	})
	return s
}

// NewSecureStandalone is NewStandalone with doors of TLS and DTLS, for which certificates is a folder.
func NewSecureStandalone(t *testing.T, certificates string, flags ...string) *Standalone {
	t.Helper()
	s := NewStandalone(t, flags...)
	s.MQTTTLS, s.CoAPS = freeAddress(t, "tcp"), freeAddress(t, "udp")
	s.secure = []string{
		"--mqtt-tls-listen", s.MQTTTLS, "--mqtt-tls-certificates", certificates,
		"--coap-dtls-listen", s.CoAPS, "--coap-dtls-certificates", certificates,
	}
	s.Set(flags...)
	return s
}

func freeAddress(t *testing.T, network string) string {
	t.Helper()
	address, err := part.FreeAddress(network)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Doors is where devices and people find it.
func (s *Standalone) Doors() Doors {
	return Doors{MQTT: s.MQTT, MQTTTLS: s.MQTTTLS, HTTP: s.HTTP, CoAP: s.CoAP, CoAPS: s.CoAPS, Admin: s.Admin, Kafka: s.Kafka}
}

// Keep has the data kept in a folder below dir instead; before the first Start.
func (s *Standalone) Keep(dir string) {
	s.data = filepath.Join(dir, "data")
	s.Set(s.flags...)
}

// Set has the next Start give these flags, instead of those given so far.
func (s *Standalone) Set(flags ...string) {
	s.flags = flags
	s.Args = append([]string{
		"standalone", "--data", s.data, "--mqtt-listen", s.MQTT, "--http-listen", s.HTTP,
		"--coap-listen", s.CoAP, "--admin-listen", s.Admin, "--broker-listen", s.Kafka,
	}, append(s.secure, flags...)...)
}

// Stop stops the process in order; an exit code is an error.
func (s *Standalone) Stop() error { return s.stopClean() }

// FirstLogin is what the first start printed.
func (s *Standalone) FirstLogin(ctx context.Context) (user, password string, err error) {
	for { // what is printed comes a moment later
		user, password, err = loginIn(s.Output())
		if err == nil {
			return user, password, nil
		}
		select {
		case <-ctx.Done():
			return "", "", fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Operate runs `sluice` with args and the node's data folder, and returns what it printed.
func (s *Standalone) Operate(ctx context.Context, args ...string) (string, error) {
	return operate(ctx, append(args, "--data", s.data)...)
}

// Processes is the one.
func (s *Standalone) Processes() []*part.Process { return []*part.Process{s.Process} }
