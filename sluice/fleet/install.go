package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/logs"
	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// Install is `sluice install`: it makes what the members of a fleet expect to find. It may be run again at any time,
// also after it was killed halfway: what is there is checked and left as it is.
type Install struct {
	Logs       logs.Config   `embed:""`
	Bus        bus.Config    `embed:""`
	Partitions int           `name:"partitions" default:"24" help:"Partitions of each topic core nodes own; fixed once the topics exist. The most core nodes that can share the work."`
	Limit      time.Duration `name:"install-limit" default:"2m" help:"How long it waits for brokers and store."`
	Core       installConfig `embed:""`
}

// installConfig leaves out what an installation has no use for.
type installConfig struct {
	HTTPListen      struct{} `settings:"-"`
	corenode.Config `embed:""`
}

// Run makes the topics, then what the store needs, and says what it did.
func (i *Install) Run(ctx context.Context, inv process.Invocation) error {
	ctx, cancel := context.WithTimeout(ctx, i.Limit)
	defer cancel()
	log, err := logs.New(i.Logs, inv.Stderr)
	if err != nil {
		return err
	}
	if i.Partitions < 1 {
		return fmt.Errorf("--partitions: %d is not a positive number", i.Partitions)
	}
	if err := i.awaitBrokers(ctx, log); err != nil {
		return err
	}
	queues, err := i.Core.FurtherQueues()
	if err != nil {
		return err
	}
	specs := topics.Prefixed(i.Bus.TopicPrefix, append(topics.Standard(i.Partitions), topics.Queues(i.Partitions, queues)...))
	if err := topics.Create(ctx, i.Bus.Brokers, specs, i.Bus.Replication); err != nil {
		return fmt.Errorf("make the topics: %w", err)
	}
	fmt.Fprintf(inv.Stdout, "Topics are there, the owned ones with %d partitions.\n", i.Partitions)
	client, err := i.dial(ctx, log) // after the topics, so that it knows them
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // everything published was waited for
	user, password, err := corenode.Install(ctx, i.Core.Config, client, process.Env{Log: log})
	if err != nil {
		return err
	}
	if user != "" {
		fmt.Fprintf(inv.Stdout, "First administrator. Log in once as %s / %s and change the password: it is not shown again.\n", user, password)
	}
	_, err = fmt.Fprintln(inv.Stdout, "Installed.")
	return err
}

// awaitBrokers returns once the brokers answer.
func (i *Install) awaitBrokers(ctx context.Context, log *slog.Logger) error {
	client, err := i.dial(ctx, log)
	if err != nil {
		return err
	}
	return client.Close()
}

func (i *Install) dial(ctx context.Context, log *slog.Logger) (*bus.Client, error) {
	config := i.Bus
	config.ConnectTimeout = i.Limit
	return bus.Dial(ctx, config, bus.Options{Node: fmt.Sprintf("install-%d", os.Getpid()), Log: log})
}
