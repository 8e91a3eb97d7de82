package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-iot/sluice/process/settings"
)

// Exit codes of a program besides 0.
const (
	exitFailed = 1
	exitUsage  = 2
	exitForced = 130 // as shells report an interrupted command
)

// Command is what one word of the command line does.
type Command interface {
	// Run does it. ctx ends when the program is asked to stop.
	Run(ctx context.Context, inv Invocation) error
}

// Invocation is one start of a program: what it was given and where it speaks.
type Invocation struct {
	Name        string // of the program
	Description string
	Args        []string // without the program's name
	Environ     []string // as os.Environ returns it
	Stdout      io.Writer
	Stderr      io.Writer
	// Signals asks the program to stop; the second one forces it.
	Signals <-chan os.Signal
}

// Main runs the command that the process' arguments name and returns the exit code. commands
// points to a struct as settings.Grammar has it; each command in it is a Command.
func Main(name, description string, commands any) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it; a closed terminal is a reason to stop in order
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	return Execute(Invocation{
		Name: name, Description: description,
		Args: os.Args[1:], Environ: os.Environ(),
		Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals,
	}, commands)
}

// Execute is Main with all that the operating system gives handed in. When the second signal
// comes before the command has ended, Execute returns without it: the caller is to exit.
func Execute(inv Invocation, commands any) int {
	grammar := settings.Grammar{Name: inv.Name, Description: inv.Description, Commands: commands}
	selected, err := settings.Parse(grammar, inv.Args, inv.Environ, inv.Stdout)
	if errors.Is(err, settings.ErrHelp) {
		return 0
	}
	command, runs := selected.(Command)
	if err == nil && !runs {
		err = fmt.Errorf("%T does nothing when run", selected)
	}
	if err != nil {
		fmt.Fprintf(inv.Stderr, "%s: %v\n", inv.Name, err)
		return exitUsage
	}
	return run(inv, command)
}

func run(inv Invocation, command Command) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- command.Run(ctx, inv) }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				fmt.Fprintf(inv.Stderr, "%s: %v\n", inv.Name, err)
				return exitFailed
			}
			return 0
		case <-inv.Signals:
			if ctx.Err() != nil {
				fmt.Fprintf(inv.Stderr, "%s: forced to stop\n", inv.Name)
				return exitForced
			}
			stop()
		}
	}
}
