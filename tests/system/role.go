package system

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// Role is one process of Sluice, with what its admin listener tells.
type Role struct {
	*part.Process
	Admin string // address of the admin listener
	// Listen is where it serves: MQTT, HTTP or CoAP, as the role is. WebSocket and Secure, TLS, are an MQTT transport's
	// other doors.
	Listen, WebSocket, Secure string
}

// newRole is a process that is ready when its /ready says so.
func newRole(c part.Command, admin string) *Role {
	r := &Role{Admin: admin}
	c.Ready = func(ctx context.Context) error {
		ready, why, err := r.Ready(ctx)
		if err == nil && !ready {
			err = fmt.Errorf("not ready: %s", why)
		}
		return err
	}
	r.Process = part.NewProcess(c)
	return r
}

// stopClean stops the process in order; an exit code is an error.
func (r *Role) stopClean() error {
	if !r.Running() {
		return nil
	}
	if err := r.Process.Stop(); err != nil {
		return err
	}
	if code := r.Wait(); code != 0 {
		return fmt.Errorf("%s: exit code %d after SIGTERM", r.Name, code)
	}
	return nil
}

// ask asks the admin listener and returns the answer's status and body.
func (r *Role) ask(ctx context.Context, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// Ready returns whether the process says that it is ready, and its reasons when it is not.
func (r *Role) Ready(ctx context.Context) (bool, string, error) {
	status, text, err := r.ask(ctx, "/ready")
	return status == http.StatusOK, text, err
}

// Metrics reads all counters and gauges, by name and labels as the text format writes them.
func (r *Role) Metrics(ctx context.Context) (map[string]float64, error) {
	_, text, err := r.ask(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = n
		}
	}
	return values, nil
}
