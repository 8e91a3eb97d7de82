package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// side is one of those that a row compares.
type side struct {
	name string
	// measure takes one value in a folder of its own, from processes started for it alone.
	measure func(ctx context.Context, dir string) (float64, error)
}

// row is one line of the table. The first side is ours; ratios are ours to each other side's.
type row struct {
	id, title, unit string
	sides           []side
	// floors and aims are what ours, or its ratio to the side of that name, must and should be; ours under "".
	floors, aims map[string]float64
	// less means that less is better.
	less bool
	// turns is how often to measure, where that is not for the user to say; 0 leaves it to them.
	turns int
}

// outcome is a row measured: the values of each side, in the order taken.
type outcome struct {
	row
	values [][]float64
}

// median returns the middle value of side i; the mean of the middle two when there are as many on either side.
func (o outcome) median(i int) float64 {
	sorted := slices.Sorted(slices.Values(o.values[i]))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// bench is what all measurements share.
type bench struct {
	options options
	dir     string
	binary  string // sluice, built for this run
	machine machine
	fleet   *parts // real ones, when a fleet is measured
}

func newBench(ctx context.Context, o options) (*bench, error) {
	if err := allowFiles(2 * idleConnections); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "sluice-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, dir: dir, binary: filepath.Join(dir, "sluice"), machine: describe(ctx)}
	// As `make build` links what is shipped.
	trimmed, err := exec.CommandContext(ctx, filepath.Join("tools", "trim")).Output()
	if err != nil {
		b.close()
		return nil, fmt.Errorf("make the workspace to build in: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", b.binary, "github.com/sluice-iot/sluice/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK="+strings.TrimSpace(string(trimmed)))
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("build sluice: %w\n%s", err, out)
	}
	if o.Fleet {
		if b.fleet, err = startParts(ctx, b.dir, b.binary); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

func (b *bench) close() {
	if b.fleet != nil {
		b.fleet.stop()
	}
	if err := os.RemoveAll(b.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench: remove data:", err)
	}
}

// measure takes every side's value in turns, so that what the machine does beside falls on all
// alike. A side that fails is left out from then on; the others are measured all the same.
func (b *bench) measure(ctx context.Context, r row) (outcome, error) {
	o := outcome{row: r, values: make([][]float64, len(r.sides))}
	turns := b.options.Pairs
	if r.turns > 0 {
		turns = r.turns
	}
	failed := make([]error, len(r.sides))
	for turn := range turns {
		for i := range r.sides {
			at := (i + turn) % len(r.sides) // nobody is always first
			if failed[at] != nil {
				continue
			}
			value, err := b.once(ctx, r.sides[at])
			if err != nil {
				failed[at] = fmt.Errorf("%s: %w", r.sides[at].name, err)
				fmt.Fprintf(os.Stderr, "%-4s turn %d  %v\n", r.id, turn+1, failed[at])
				continue
			}
			o.values[at] = append(o.values[at], value)
			fmt.Fprintf(os.Stderr, "%-4s turn %d  %-44s %s %s\n", r.id, turn+1, r.sides[at].name, number(value), r.unit)
		}
	}
	return o, errors.Join(failed...)
}

func (b *bench) once(ctx context.Context, s side) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return 0, err
	}
	value, err := s.measure(ctx, dir)
	if removeErr := os.RemoveAll(dir); err == nil {
		err = removeErr
	}
	return value, err
}

// machine is where a run took place.
type machine struct {
	commit, cpu, kernel, date string
	cores                     int
}

func describe(ctx context.Context) machine {
	command := func(name string, arguments ...string) string {
		out, err := exec.CommandContext(ctx, name, arguments...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	m := machine{
		commit: command("git", "describe", "--always", "--dirty"), kernel: command("uname", "-sr"),
		cpu: "unknown", date: time.Now().UTC().Format("2006-01-02 15:04 UTC"),
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "processor":
			m.cores++
		case "model name":
			m.cpu = strings.TrimSpace(value)
		}
	}
	return m
}
