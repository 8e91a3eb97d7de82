package fleet

import (
	"context"
	"fmt"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/process"
	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
)

// JSExecutor is `sluice js-executor`.
type JSExecutor struct {
	Member
	Executor jsexecutor.Config `embed:""`
}

// Run serves until ctx ends.
func (e *JSExecutor) Run(ctx context.Context, inv process.Invocation) error {
	const noReplies = "" // it is never asked by name
	return e.serve(ctx, inv, noReplies, func(_ context.Context, client *bus.Client, env process.Env) ([]process.Runner, string, error) {
		service, err := jsexecutor.New(e.Executor, e.NodeID, client, env)
		if err != nil {
			return nil, "", err
		}
		return []process.Runner{service}, fmt.Sprintf("scripts in up to %d processes", e.Executor.Children), nil
	})
}
