package process

import (
	"context"
	"errors"
)

// Sequence makes one Runner of parts. They are started in order; when the context ends, or any
// part does, they are stopped in reverse order, each fully before the next is told to: what
// comes first in the list is what the others rest upon. The error joins those of all parts.
func Sequence(parts ...Runner) Runner {
	return RunnerFunc(func(ctx context.Context) error { return runSequence(ctx, parts) })
}

// running is a started part.
type running struct {
	stop  context.CancelFunc
	ended <-chan struct{}
	err   *error // readable once ended is closed
}

func runSequence(ctx context.Context, parts []Runner) error {
	anyEnded := make(chan struct{}, len(parts))
	started := make([]running, 0, len(parts))
	for _, part := range parts {
		started = append(started, start(ctx, part, anyEnded))
	}
	select {
	case <-ctx.Done():
	case <-anyEnded:
	}
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		started[i].stop()
		<-started[i].ended
		errs = append(errs, *started[i].err)
	}
	return errors.Join(errs...)
}

// start runs part under a context of its own, so that it ends when its turn comes and not when
// the parent's does.
func start(ctx context.Context, part Runner, anyEnded chan<- struct{}) running {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = part.Run(own)
		anyEnded <- struct{}{}
	}()
	return running{stop: stop, ended: ended, err: &err}
}
