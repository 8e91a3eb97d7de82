package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/process"
	corenode "github.com/sluice-iot/sluice/services/core-node"
	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
	"github.com/sluice-iot/sluice/sluice/standalone"
)

// offline has work done with a Tryout whose scripts are run in processes of their own, as an executor does.
func offline(ctx context.Context, work func(context.Context, *corenode.Tryout) error) error {
	defaults, err := standalone.DefaultConfig("")
	if err != nil {
		return err
	}
	wire := newWire()
	env := process.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	config := defaults.Executor.Config
	config.Sandbox = "weak"                                                                                      // they are one's own scripts
	config.Group, config.Session, config.Heartbeat, config.DrainTimeout = "offline", time.Minute, time.Minute, 0 // there is no group
	executor, err := jsexecutor.New(config, "offline", wire, env)
	if err != nil {
		return fmt.Errorf("scripts: %w", err)
	}
	tryout, err := corenode.NewTryout(defaults.Core.Config, wire, env)
	if err != nil {
		return err
	}
	working, end := context.WithCancelCause(ctx)
	ended := make(chan error, 2)
	run := func(part process.Runner) {
		err := part.Run(working)
		if working.Err() == nil {
			end(errors.Join(errNoExecutor, err)) // nobody else will answer
		}
		ended <- err
	}
	go run(executor)
	go run(tryout)
	err = work(working, tryout)
	if cause := context.Cause(working); err != nil && cause != nil {
		err = cause
	}
	end(nil)
	err = errors.Join(err, <-ended, <-ended)
	wire.close()
	return err
}
