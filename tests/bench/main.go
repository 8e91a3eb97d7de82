// Command bench measures Sluice side by side with what it stands on and what it stands against:
// the bus alone, kafka-go's Writer, a bare HTTP handler, a bare loop into Pebble, mosquitto,
// libcoap and scripts in Node. Every row runs its sides alternately, several times, and reports medians and every
// single value, to the screen and to docs/reference/performance.md.
//
// Peers come from the Debian packages mosquitto, libcoap3-bin and nodejs. Everything listens on loopback
// addresses and is ended by its process id.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-iot/sluice/process/settings"
)

type options struct {
	Rows   []string      `help:"Rows to measure, such as a,b,c or f1; all without it."`
	Pairs  int           `default:"5" help:"How often each side is measured, in turns."`
	Time   time.Duration `default:"4s" help:"How long one measurement of throughput takes."`
	Short  bool          `help:"One quick turn of everything: to see that it works, not to compare."`
	Fleet  bool          `help:"Measure a process per role on real Kafka, ZooKeeper, Cassandra and Redis, instead of one process that is everything."`
	NoPage bool          `help:"Write no page. Else rows not measured keep what the page has."`
	Dir    string        `help:"Folder for the data of what is measured; a temporary one without it."`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == roleArgument {
		exit(playRole(os.Args[2:]))
	}
	var o options
	grammar := settings.Grammar{Name: "bench", Description: "Measure Sluice side by side with its peers.", Commands: &o}
	if _, err := settings.Parse(grammar, os.Args[1:], os.Environ(), os.Stdout); errors.Is(err, settings.ErrHelp) {
		return
	} else if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, o options) error {
	if o.Short {
		o.Pairs, o.Time = 1, time.Second
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	var measured []outcome
	var errs []error
	for _, r := range b.rows() {
		if len(o.Rows) > 0 && !slices.Contains(o.Rows, r.id) && !slices.Contains(o.Rows, strings.TrimRight(r.id, "0123456789")) {
			continue
		}
		result, err := b.measure(ctx, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("row %s: %w", r.id, err))
		}
		result.print(os.Stdout)
		measured = append(measured, result)
	}
	fmt.Println()
	printTable(os.Stdout, measured)
	if !o.NoPage && !o.Short && len(measured) > 0 {
		errs = append(errs, b.page().write(b.machine, measured))
	}
	return errors.Join(errs...)
}
