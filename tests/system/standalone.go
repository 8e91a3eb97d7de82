// Package system holds the scenarios that look at Sluice from outside only: a process, its
// sockets, and what a query shows. Nothing here imports the product.
package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Standalone is one sluice process on fixed loopback ports, which can be killed and started again on the same data.
type Standalone struct {
	MQTT, HTTP, CoAP, Admin string
	binary, data            string
	args                    []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	output bytes.Buffer
}

// Keep has the data kept in a folder below dir instead; before the first Start.
func (s *Standalone) Keep(dir string) { s.data = filepath.Join(dir, "data") }

// binaryPath builds the binary, the first time it is asked for, into a folder that RemoveBinary removes.
var binaryPath = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-system-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/sluice-iot/sluice/sluice").CombinedOutput(); err != nil {
		return path, fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// RemoveBinary removes the binary that the scenarios of this process share; without one it builds one first.
func RemoveBinary() error {
	path, err := binaryPath()
	return errors.Join(err, os.RemoveAll(filepath.Dir(path)))
}

// NewStandalone picks ports and a folder for the data; Start starts the process. extra are further flags.
func NewStandalone(t *testing.T, extra ...string) *Standalone {
	t.Helper()
	binary, err := binaryPath()
	if err != nil {
		t.Fatal(err)
	}
	s := &Standalone{
		MQTT: freePort(t, "tcp"), HTTP: freePort(t, "tcp"), CoAP: freePort(t, "udp"), Admin: freePort(t, "tcp"),
		binary: binary,
		data:   filepath.Join(t.TempDir(), "data"),
		args:   extra,
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("output of the process:\n%s", s.Output())
		}
	})
	return s
}

func freePort(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start starts the process and waits until it is ready.
func (s *Standalone) Start(ctx context.Context) error {
	args := append([]string{
		"standalone", "--data", s.data, "--mqtt-listen", s.MQTT, "--http-listen", s.HTTP,
		"--coap-listen", s.CoAP, "--admin-listen", s.Admin,
	}, s.args...)
	cmd := exec.Command(s.binary, args...)
	cmd.Stdout, cmd.Stderr = (*locked)(s), (*locked)(s)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // a killed process ends with an error: expected
		close(exited)
	}()
	s.mu.Lock()
	s.cmd, s.exited = cmd, exited
	s.mu.Unlock()
	return s.waitReady(ctx, exited)
}

func (s *Standalone) waitReady(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+"/ready", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-exited:
			return fmt.Errorf("the process ended before it was ready:\n%s", s.Output())
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w\n%s", ctx.Err(), s.Output())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (s *Standalone) Kill() {
	if s.Signal(syscall.SIGKILL) {
		s.Wait()
	}
}

// Signal sends the process a signal; false when none was started. One that is gone already is as good.
func (s *Standalone) Signal(signal syscall.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return false
	}
	_ = s.cmd.Process.Signal(signal)
	return true
}

// Wait waits for the end of the process and returns its exit code: -1 when a signal ended it.
func (s *Standalone) Wait() int {
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.mu.Unlock()
	<-exited
	return cmd.ProcessState.ExitCode()
}

// PID returns the running process's id.
func (s *Standalone) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Output returns all the process printed so far.
func (s *Standalone) Output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

type locked Standalone

func (l *locked) Write(p []byte) (int, error) {
	s := (*Standalone)(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(p)
}

var residentSize = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// ResidentKB returns the process's resident memory.
func (s *Standalone) ResidentKB() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return 0, err
	}
	match := residentSize.FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no VmRSS in /proc status")
	}
	var kb int
	_, err = fmt.Sscanf(string(match[1]), "%d", &kb)
	return kb, err
}
