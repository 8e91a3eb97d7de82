package main

import (
	"context"
	"errors"
	"time"
)

// Row l is row k with a process per role, real Kafka and Cassandra.

// fleetAsked is asked of a core node and an MQTT transport.
func (b *bench) fleetAsked(a assignment, pick func(report) time.Duration) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		f, err := b.startFleet(ctx, dir, crew{"core-node", "mqtt-transport"})
		if err != nil {
			return 0, err
		}
		r, err := f.askAll(ctx, a)
		return milliseconds(pick(r)), errors.Join(err, f.end())
	}
}

// askAll asks the devices that answer, which are there from the first time on.
func (f *fleet) askAll(ctx context.Context, a assignment) (r report, err error) {
	if err := f.logIn(ctx); err != nil {
		return r, err
	}
	if f.installed.parts.answering == nil {
		if f.installed.parts.answering, err = f.addAnswering(ctx); err != nil {
			return r, err
		}
	}
	return f.ask(ctx, a, f.installed.parts.answering)
}

// fleetRelayed is relayed over the fleet's Kafka.
func (b *bench) fleetRelayed(a assignment, pick func(report) time.Duration) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, _ string) (ms float64, err error) {
		installed, err := b.fleet.install(ctx)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, installed.remove()) }()
		a := a
		installed.tell(&a)
		c, r, err := startRole(a)
		if err != nil {
			return 0, err
		}
		return milliseconds(pick(r)), c.stop()
	}
}
