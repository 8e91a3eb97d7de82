package system

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
)

// Operate runs `sluice` with args and the node's data folder, and returns what it printed.
func (s *Standalone) Operate(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, s.binary, append(args, "--data", s.data)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// admin asks the admin listener and returns the answer's status and body.
func (s *Standalone) admin(ctx context.Context, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+path, nil)
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

// Ready returns whether the node says that it is ready, and its reasons when it is not.
func (s *Standalone) Ready(ctx context.Context) (bool, string, error) {
	status, text, err := s.admin(ctx, "/ready")
	return status == http.StatusOK, text, err
}

// Metrics reads all counters and gauges, by name and labels as the text format writes them.
func (s *Standalone) Metrics(ctx context.Context) (map[string]float64, error) {
	_, text, err := s.admin(ctx, "/metrics")
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
