package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluice-iot/sluice/process/admin"
	"github.com/sluice-iot/sluice/process/logs"
	"github.com/sluice-iot/sluice/process/memory"
)

// ErrDrainLimit: the process did not stop within its drain limit; the caller is to exit.
var ErrDrainLimit = errors.New("process: did not stop within the drain limit")

var (
	errStarting = errors.New("starting")
	errStopping = errors.New("stopping")
)

// Config is the settings every serving program has.
type Config struct {
	Admin       admin.Config  `embed:""`
	Logs        logs.Config   `embed:""`
	Memory      memory.Config `embed:""`
	DrainNotice time.Duration `name:"drain-notice" default:"0s" help:"How long /ready says no before connections are drained, for load balancers to notice."`
	DrainLimit  time.Duration `name:"drain-limit" default:"30s" help:"Longest a stop may take; after it the process ends as it is."`
}

// Serve runs what build makes until ctx ends. The order: logs to out, metrics and the admin
// listener, build, run; then not ready, notice, drain, and the admin listener last. An error of
// build or of the Runner is returned; ErrDrainLimit when it did not stop in time.
func Serve(ctx context.Context, c Config, out io.Writer, build func(context.Context, Env) (Runner, error)) error {
	log, err := logs.New(c.Logs, out)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	health := &Health{}
	var state atomic.Pointer[error]
	state.Store(&errStarting)
	health.Check("process", func() error { return *state.Load() })
	listener, err := admin.New(c.Admin, log, registry, health)
	if err != nil {
		return err
	}
	served := RunnerFunc(func(ctx context.Context) error {
		runner, err := build(ctx, Env{Log: log, Metrics: registry, Gatherer: registry, Health: health, Admin: listener, AdminAddr: listener.Addr()})
		if err != nil {
			return err
		}
		var ready error
		state.CompareAndSwap(&errStarting, &ready)
		log.Info("started", "admin", listener.Addr())
		return runner.Run(ctx)
	})
	return stopWithin(ctx, c, func() { state.Store(&errStopping) }, Sequence(memory.New(c.Memory), listener, served))
}

// stopWithin runs runner and, once ctx has ended, gives it notice and then the drain limit.
func stopWithin(ctx context.Context, c Config, notice func(), runner Runner) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(running) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	notice()
	select {
	case err := <-ended:
		return err
	case <-time.After(c.DrainNotice):
	}
	stop()
	select {
	case err := <-ended:
		return err
	case <-time.After(c.DrainLimit):
		return fmt.Errorf("%w of %s", ErrDrainLimit, c.DrainLimit)
	}
}
