// Package corenode owns the data: it takes uplinks from its partitions of the bus through the
// tenants' rule chains into the store, keeps devices' connectivity, and answers people over
// REST and WebSocket. See DESIGN.md.
package corenode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/calls"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/ingest"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/websocket"
)

// Bus is what a core node needs of the bus. *bus.Client is one.
type Bus interface {
	bus.Bus
	script.Bus
	// Lag returns how far the owners of a topic's partitions have come.
	Lag(ctx context.Context, topic string) ([]bus.PartitionLag, error)
	// SweepReplies deletes the reply topics of processes that are gone, until ctx ends.
	SweepReplies(ctx context.Context)
}

// Service is one core node.
type Service struct {
	config   Config
	env      process.Env
	bus      Bus
	store    storage.Store
	entities *entity.Registry
	attached
	accounts *auth.Accounts
	compiler *rule.Compiler
	chains   *rule.Chains
	scripts  *script.Scripts
	outside  *outside.Outside
	ingest   *ingest.Ingest
	watches  *live.Watches
	calls    calls.Calls
	sockets  *websocket.Server
	handler  http.Handler
	listener net.Listener // nil when others serve handler
	// partitions is how many each owned topic has.
	partitions int
	queues     []queue.Queue
	// broken is told when the store cannot go on.
	broken chan error

	firstUser, firstPassword string
}

// startTimeout bounds what New asks of the store and the bus.
const startTimeout = 30 * time.Second

// New opens the store, binds the listener if one is configured and, in a store that is this node's alone, installs what
// a first start needs; a shared store must have been installed (Install). The topics must be there (bus/topics.Create).
// Nothing is consumed before Run, which also closes what New opened.
func New(c Config, b Bus, env process.Env) (*Service, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s := &Service{config: c, env: env, bus: b, broken: make(chan error, 1)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Service) open(ctx context.Context) (err error) {
	if s.store, err = s.openStore(ctx); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	if s.partitions, err = s.bus.Partitions(ctx, topics.RuleEngine); err != nil {
		return fmt.Errorf("find the partitions: %w", err)
	}
	if err := s.attach(); err != nil {
		return err
	}
	s.entities = entity.New(s.store, entity.Options{
		Events: entity.Announcer{Bus: s.bus}, Lifecycle: ingest.Lifecycle{Bus: s.bus}, Values: s.store,
		Attached: []entity.Attached{s.relations, s.alarms, s.packages, s.claims}, Assignments: s.packages,
	})
	s.packages.Over(s.entities)
	hasher := password.NewHasher(2, s.config.PasswordQueue)
	if s.config.Store == storePebble { // nobody else can have installed into it
		if s.firstUser, s.firstPassword, err = installData(ctx, s.entities, hasher, s.config.Demo); err != nil {
			return err
		}
	}
	key, err := auth.LoadKey(ctx, s.store)
	if err != nil {
		return fmt.Errorf("load the key of tokens: %w", err)
	}
	s.accounts = auth.New(auth.Options{
		Users: s.entities.Users, Passwords: hasher, Sessions: s.store, Key: key, Settings: s.config.Auth, Log: s.env.Log,
	})
	if s.queues, err = s.config.queues(); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	if s.config.HTTPListen != "" {
		if s.listener, err = net.Listen("tcp", s.config.HTTPListen); err != nil {
			return fmt.Errorf("listen for REST: %w", err)
		}
	}
	return nil
}

// Run consumes and answers until ctx ends and what is in hand is finished, then closes the store.
func (s *Service) Run(ctx context.Context) error {
	// Asked even if ctx has ended: the parts close by being run.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	owned, err := s.openRing(asking)
	cancel()
	if err != nil {
		return errors.Join(err, s.close())
	}
	s.tellOfCluster(owned)
	err = process.Sequence(
		process.RunnerFunc(s.watchStore),
		process.RunnerFunc(s.accounts.Run),
		process.RunnerFunc(s.events.Run),
		process.RunnerFunc(func(ctx context.Context) error { return s.packages.Run(ctx, s.ingest.Owns) }),
		process.RunnerFunc(s.scripts.Run),
		process.RunnerFunc(s.followEvents),
		process.RunnerFunc(s.sweepReplies),
		process.RunnerFunc(s.outside.Run), // ends after the rule nodes that use it
		process.RunnerFunc(func(ctx context.Context) error { return owned.Run(ctx, s.own, s.calls.Answer) }),
		process.RunnerFunc(s.watches.Run),
		process.RunnerFunc(s.sockets.Run),
		process.RunnerFunc(s.serve),
	).Run(ctx)
	return errors.Join(err, s.close())
}

// watchStore ends the service when the store cannot go on: a new start may.
func (s *Service) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.broken:
		return fmt.Errorf("the store cannot go on: %w", err)
	}
}

// own processes a partition that came to this node. What the store remembers of rows that others have written meanwhile goes first.
func (s *Service) own(ctx context.Context, lease ring.Lease) error {
	if store, remembers := s.store.(interface{ Forget() }); remembers {
		store.Forget()
	}
	return s.ingest.Own(ctx, lease)
}

func (s *Service) sweepReplies(ctx context.Context) error {
	s.bus.SweepReplies(ctx)
	return nil
}

// serve answers people on the service's own listener, if there is one.
func (s *Service) serve(ctx context.Context) error {
	if s.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve REST: %w", err)
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
	defer cancel()
	err := server.Shutdown(limited)
	if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("drain REST: %w", err), server.Close())
	}
	return nil
}

func (s *Service) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close the listener: %w", err))
		}
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the store: %w", err))
		}
	}
	return errors.Join(errs...)
}

// FirstLogin returns the system administrator and the one-time password this start made, for the program to
// show before anyone is served; "" when there was one already, and in the demo, where both are published.
func (s *Service) FirstLogin() (user, password string) { return s.firstUser, s.firstPassword }

// Handler serves REST and WebSocket, for a process that has a listener of its own for them.
func (s *Service) Handler() http.Handler { return s.handler }

// Addr is the bound address of the service's own listener; "" when there is none.
func (s *Service) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}
