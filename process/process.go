// Package process is how a program of Sluice lives: settings, logs, metrics and health on the
// admin listener, run, ordered drain. It knows nothing of what the program does.
package process

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Env is what a service gets from the process it runs in.
type Env struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Gatherer reads what Metrics holds; nil where nobody may.
	Gatherer prometheus.Gatherer
	// Health collects the checks behind /ready; nil in tests that do not look at it.
	Health *Health
	// Admin registers operators' HTTP handlers on the admin listener; may be nil.
	Admin AdminRoutes
	// AdminAddr is the admin listener's address; "" when it has none.
	AdminAddr string
}

// AdminRoutes is where a service puts its operators' handlers.
type AdminRoutes interface {
	// Handle registers handler under an http.ServeMux pattern, such as "GET /dead-letters".
	Handle(pattern string, handler http.Handler)
}

// Runner is a part of a program that runs until it is told to stop.
type Runner interface {
	// Run blocks until ctx ends and the part has drained, or the part fails. nil is a clean stop.
	Run(ctx context.Context) error
}

// RunnerFunc makes a Runner of a function.
type RunnerFunc func(ctx context.Context) error

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context) error { return f(ctx) }
