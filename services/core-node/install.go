package corenode

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/ingest"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/cassandra"
)

// Install makes what the core nodes of a fleet share in the store that c names: its tables, the first administrator and,
// where c.Demo says so, the demo's accounts and devices. What is there already is left as it is, so it may be run again,
// after a kill too. It returns the administrator it made and the one-time password; "" when there was one. A
// store that is one node's alone is installed by that node instead: there Install does nothing.
func Install(ctx context.Context, c Config, b Bus, env process.Env) (user, pass string, err error) {
	if c.Store == storePebble {
		return "", "", nil
	}
	s := &Service{config: c, env: env, bus: b, broken: make(chan error, 1)}
	_, err = awaited(ctx, func() (struct{}, error) { return struct{}{}, cassandra.Install(ctx, s.cassandra()) })
	if err != nil {
		return "", "", fmt.Errorf("install the store: %w", err)
	}
	if s.store, err = s.openStore(ctx); err != nil {
		return "", "", fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	entities := entity.New(s.store, entity.Options{
		Events: entity.Announcer{Bus: b}, Lifecycle: ingest.Lifecycle{Bus: b}, Values: s.store,
	})
	return installData(ctx, entities, password.NewHasher(2, c.PasswordQueue), c.Demo)
}

// installData makes what a new store needs, and returns the administrator it made with the one-time password.
func installData(ctx context.Context, entities *entity.Registry, hasher *password.Hasher, demo bool) (user, pass string, err error) {
	if demo {
		if err := install.Demo(ctx, entities); err != nil {
			return "", "", fmt.Errorf("install demo data: %w", err)
		}
		return "", "", nil
	}
	made, err := install.System(ctx, entities, hasher)
	if err != nil {
		return "", "", fmt.Errorf("install the system's data: %w", err)
	}
	if made == "" {
		return "", "", nil
	}
	return install.AdminEmail, made, nil
}
