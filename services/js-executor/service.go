// Package jsexecutor runs tenants' scripts: calls come over Kafka, are run in processes that can do nothing but compute,
// and are answered to who asked. See DESIGN.md.
package jsexecutor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/js-executor/internal/child"
	"github.com/sluice-iot/sluice/services/js-executor/internal/crew"
	"github.com/sluice-iot/sluice/services/js-executor/internal/intake"
)

// Bus is what an executor needs of the bus.
type Bus interface {
	bus.Publisher
	bus.Member
	// Age returns how long ago a record was published.
	Age(r bus.Record) time.Duration
}

// ChildCommand is the word on a program's command line that makes it a process that runs scripts. It is not for people, and
// looks like an option so that a program that does not know it (a test's) ends at once.
const ChildCommand = "-script-child"

// IsChild reports whether args, a program's own name included, ask for Child.
func IsChild(args []string) bool { return len(args) > 1 && args[1] == ChildCommand }

// Child is the whole life of a process that runs scripts; args are those of the program, its own name included. It returns the exit code.
func Child(args []string) int { return child.Main(args[2:]) }

// Service is a running executor.
type Service struct {
	config  Config
	env     process.Env
	crew    *crew.Crew
	intake  *intake.Intake
	metrics *metrics
}

// New checks the settings. name is this executor's among the others. Nothing is read before Run.
func New(c Config, name string, b Bus, env process.Env) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(c.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		c.Command = []string{self, ChildCommand}
	}
	s := &Service{config: c, env: env, metrics: newMetrics(env)}
	s.crew = crew.New(crew.Options{Limits: c.limits(), Command: c.Command, Child: c.child(), Log: s.metrics.log, Watcher: s.metrics})
	s.intake = intake.New(intake.Options{
		Bus: b, Crew: s.crew, Name: name, ReplyBytes: c.ReplyBytes, Timeout: c.Timeout, Log: s.metrics.log, Watcher: s.metrics,
	})
	env.Health.Check("scripts", s.crew.Ready)
	if env.Admin != nil {
		env.Admin.Handle("GET /scripts", &s.metrics.scripts)
	}
	return s, nil
}

// Run takes calls on until ctx ends; then it answers those in hand within the drain time-out. It fails at once when scripts cannot be shut in.
func (s *Service) Run(ctx context.Context) error {
	how, err := s.crew.Probe(ctx)
	switch {
	case ctx.Err() != nil:
		return s.crew.Run(ctx, 0)
	case err != nil && s.config.Optional:
		s.metrics.log.Error("scripts are not run: calls of them wait until this is mended (--script-sandbox=weak does with less)", "err", err)
		<-ctx.Done()
		return s.crew.Run(ctx, 0)
	case err != nil:
		return errors.Join(fmt.Errorf("run scripts (--script-sandbox=weak does with less): %w", err), s.crew.Run(ended(ctx), 0))
	}
	s.metrics.log.Info("scripts are run in processes of their own", "processes", s.config.Children, "shut in by", how)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	read := make(chan error, 1)
	crewCtx, endCrew := context.WithCancel(context.WithoutCancel(ctx))
	defer endCrew()
	go func() {
		defer endCrew() // what was read is answered before the processes end
		read <- s.intake.Run(reading, bus.Group{
			Name: s.config.Group, Topic: topics.ScriptRequests, Session: s.config.Session, Heartbeat: s.config.Heartbeat,
		})
	}()
	ran := s.crew.Run(crewCtx, s.config.DrainTimeout)
	stop()
	return errors.Join(<-read, ran)
}

func ended(ctx context.Context) context.Context {
	ctx, end := context.WithCancel(ctx)
	end()
	return ctx
}
