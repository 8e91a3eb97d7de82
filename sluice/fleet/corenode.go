package fleet

import (
	"context"
	"fmt"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// CoreNode is `sluice core-node`.
type CoreNode struct {
	Member
	HTTPListen string     `name:"http-listen" default:":8080" help:"TCP address for REST and WebSocket; port 0 picks one."`
	Core       coreConfig `embed:""`
}

// coreConfig leaves out what the role sets itself.
type coreConfig struct {
	HTTPListen      struct{} `settings:"-"`
	corenode.Config `embed:""`
}

// Run serves until ctx ends.
func (c *CoreNode) Run(ctx context.Context, inv process.Invocation) error {
	return c.serve(ctx, inv, topics.CoreResponses, func(ctx context.Context, client *bus.Client, env process.Env) ([]process.Runner, string, error) {
		// What carries one entity's id has to meet on one node.
		queues, err := c.Core.FurtherQueues()
		if err != nil {
			return nil, "", err
		}
		if _, err := topics.CheckOwned(ctx, c.Bus.Brokers, c.Bus.TopicPrefix, queues); err != nil {
			return nil, "", fmt.Errorf("look at the topics (`sluice install` makes them): %w", err)
		}
		config := c.Core.Config
		config.HTTPListen, config.NodeID = c.HTTPListen, c.NodeID
		node, err := corenode.New(config, client, env)
		if err != nil {
			return nil, "", err
		}
		return []process.Runner{node}, "HTTP http://" + node.Addr(), nil
	})
}
