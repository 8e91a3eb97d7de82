// Command csv-transport is an example of a transport of one's own: devices send rows of CSV over UDP, and all that makes them
// readings is transport's. It joins a fleet like any other member.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/transport"
)

// commands is what the program does.
type commands struct {
	Serve serve `cmd:"" help:"Take rows of CSV over UDP to a fleet."`
}

// serve is this member's settings: the process's, the bus's, those all transports have, and its own.
type serve struct {
	Process process.Config   `embed:""`
	NodeID  string           `name:"node-id" default:"csv-1" help:"Name of this process, which no other of the fleet may have."`
	Bus     bus.Config       `embed:""`
	Shared  transport.Config `embed:""`
	CSV     Settings         `embed:""`
}

// Run serves until ctx ends.
func (c *serve) Run(ctx context.Context, inv process.Invocation) error {
	return process.Serve(ctx, c.Process, inv.Stderr, func(ctx context.Context, env process.Env) (process.Runner, error) {
		client, err := bus.Dial(ctx, c.Bus, bus.Options{
			Node: c.NodeID, ReplyPrefix: topics.TransportResponses, Log: env.Log, Metrics: env.Metrics,
		})
		if err != nil {
			return nil, err
		}
		shared, err := transport.New(c.Shared, client, transport.Options{Log: env.Log, Metrics: env.Metrics})
		if err != nil {
			return nil, err
		}
		service, err := New(c.CSV, shared)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(inv.Stdout, "%s   CSV udp://%s\n", c.NodeID, service.Addr()); err != nil {
			return nil, err
		}
		return process.Sequence(client, shared, service), nil // stopped in reverse
	})
}

func main() { os.Exit(process.Main("csv-transport", "Devices that send CSV.", &commands{})) }
