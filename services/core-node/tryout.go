package corenode

import (
	"cmp"
	"context"
	"fmt"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode"
	"github.com/sluice-iot/sluice/services/core-node/internal/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/tryout"
)

// What is told of a chain that is tried, and what is said of one that is looked at.
type (
	TryOptions   = tryout.Options
	TryEntity    = tryout.Entity
	TryRelation  = tryout.Relation
	TryMessage   = tryout.Message
	TryOutcome   = tryout.Outcome
	TryReport    = tryout.Report
	TryFlight    = tryout.Flight
	TryStep      = tryout.Step
	TrySent      = tryout.Sent
	TryStored    = tryout.Stored
	ChainProblem = tryout.Problem
)

// ScriptBus is what a core node needs of the bus to have scripts run.
type ScriptBus = script.Bus

// Tryout runs exported rule chains offline: the engine and nodes of a core node on a store in memory. External nodes do
// not leave the machine. Safe for concurrent use while Run runs.
type Tryout struct {
	scripts  *script.Scripts
	platform tryout.Platform
}

// NewTryout returns a Tryout whose scripts are run by the executors on b. Of c it takes the settings of scripts, rule
// nodes, relations and alarms.
func NewTryout(c Config, b ScriptBus, env process.Env) (*Tryout, error) {
	client, err := script.New(script.Options{Config: c.Scripts, Bus: b, Metrics: env.Metrics, Log: env.Log})
	if err != nil {
		return nil, fmt.Errorf("scripts: %w", err)
	}
	away := c.Outside
	away.Mail.Host = cmp.Or(away.Mail.Host, "the-platform's-own.invalid") // nothing is sent; nodes that use it shall run
	return &Tryout{client, tryout.Platform{
		Kinds: rulenode.Catalogue(), Scripts: scripts{client}, Relations: c.Relations, Alarms: c.Alarms, Outside: away,
		NodeTimeout: c.NodeTimeout, Executions: c.NodeExecutions, MaxChain: c.REST.MaxChain,
	}}, nil
}

// Run has scripts run until ctx ends.
func (t *Tryout) Run(ctx context.Context) error { return t.scripts.Run(ctx) }

// Try runs messages through a chain and reports what came of them. The error says what is wrong with what is asked;
// what goes wrong with a message is in the report.
func (t *Tryout) Try(ctx context.Context, o TryOptions) (TryReport, error) {
	return t.platform.Run(ctx, o)
}

// Lint says what is wrong with an exported chain, or a bundle. The error is none of the file's.
func (t *Tryout) Lint(ctx context.Context, file []byte) ([]ChainProblem, error) {
	return t.platform.Lint(ctx, file)
}
