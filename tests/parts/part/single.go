package part

import (
	"context"
	"errors"
	"sync"
)

// Part is a program, or a cluster of one, that a test needs.
type Part interface {
	// Name is what the command line calls it.
	Name() string
	// Address is where clients find it: "host:port", several with commas between.
	Address() string
	Start(ctx context.Context) error
	// Stop ends it in order; one that does not run is as good.
	Stop() error
	// Processes are what it consists of, for those who want to harm one.
	Processes() []*Process
}

// Single is a part of one process.
type Single struct {
	*Process
	address string
}

// Name is what the command line calls it.
func (s *Single) Name() string { return s.Process.Name }

// Address is where clients find it, "host:port".
func (s *Single) Address() string { return s.address }

// Processes is the one.
func (s *Single) Processes() []*Process { return []*Process{s.Process} }

// Together does act with every part side by side and returns all errors.
func Together(parts []Part, act func(Part) error) error {
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, p := range parts {
		running.Go(func() { errs[i] = act(p) })
	}
	running.Wait()
	return errors.Join(errs...)
}
