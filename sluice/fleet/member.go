// Package fleet runs one member of a fleet: a process that is one service, and meets the others on the brokers it is given.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/process"
)

// Member is the settings every member has.
type Member struct {
	Process process.Config `embed:""`
	NodeID  string         `name:"node-id" help:"Name of this process, which no other of the fleet may have: others send to it by this name. Empty: the host's name."`
	Bus     bus.Config     `embed:""`
}

// build makes what a member runs on client and env, each part resting on those before it. announced is what is printed once
// all of it is built. What was built before an error is returned beside it.
type build func(ctx context.Context, client *bus.Client, env process.Env) (parts []process.Runner, announced string, err error)

// serve runs a member as a process until ctx ends; logs go to inv.Stderr.
func (m *Member) serve(ctx context.Context, inv process.Invocation, replies string, build build) error {
	if err := m.name(); err != nil {
		return err
	}
	return process.Serve(ctx, m.Process, inv.Stderr, func(ctx context.Context, env process.Env) (process.Runner, error) {
		env.Log = env.Log.With("node", m.NodeID)
		client, err := bus.Dial(ctx, m.Bus, bus.Options{Node: m.NodeID, ReplyPrefix: replies, Log: env.Log, Metrics: env.Metrics})
		if err != nil {
			return nil, err
		}
		parts, announced, err := build(ctx, client, env)
		running := process.Sequence(append([]process.Runner{client}, parts...)...)
		if err != nil {
			return nil, abandon(ctx, running, err)
		}
		return running, announce(inv.Stdout, m.NodeID, announced, env)
	})
}

// name gives a member without a name the host's.
func (m *Member) name() (err error) {
	if m.NodeID != "" {
		return nil
	}
	if m.NodeID, err = os.Hostname(); err != nil {
		return fmt.Errorf("name this process after its host: %w", err)
	}
	return nil
}

// abandon closes what was built and returns why: a part that runs under an ended context only drains.
func abandon(ctx context.Context, built process.Runner, why error) error {
	ended, end := context.WithCancel(ctx)
	end()
	return errors.Join(why, built.Run(ended))
}

func announce(out io.Writer, node, announced string, env process.Env) error {
	operators := "(no address)"
	if env.AdminAddr != "" {
		operators = "http://" + env.AdminAddr
	}
	_, err := fmt.Fprintf(out, "%s   %s   operators %s\n", node, announced, operators)
	return err
}
