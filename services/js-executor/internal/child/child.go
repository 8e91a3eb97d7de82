// Package child is the process that runs scripts: it reads calls from its standard input, runs one after the
// other, and writes answers to its standard output. It has nothing else: no files, no sockets, no environment.
package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/engine"
	"github.com/sluice-iot/sluice/services/js-executor/internal/pipe"
	"github.com/sluice-iot/sluice/services/js-executor/internal/sandbox"
)

// Settings are what the parent gives a child on its command line.
type Settings struct {
	MemoryBytes int64 // what scripts may take, softly
	ResultChars int
	Depth       int
	Programs    int // compiled ones kept
	Weak        bool
}

// Args returns the settings as words of a command line.
func (s Settings) Args() []string {
	return []string{
		strconv.FormatInt(s.MemoryBytes, 10), strconv.Itoa(s.ResultChars), strconv.Itoa(s.Depth), strconv.Itoa(s.Programs), strconv.FormatBool(s.Weak),
	}
}

var errArgs = errors.New("these are no settings of a script's process")

// parse reads what Args wrote.
func parse(args []string) (s Settings, err error) {
	if len(args) != 5 {
		return s, errArgs
	}
	var errs [5]error
	s.MemoryBytes, errs[0] = strconv.ParseInt(args[0], 10, 64)
	s.ResultChars, errs[1] = strconv.Atoi(args[1])
	s.Depth, errs[2] = strconv.Atoi(args[2])
	s.Programs, errs[3] = strconv.Atoi(args[3])
	s.Weak, errs[4] = strconv.ParseBool(args[4])
	if err := errors.Join(errs[:]...); err != nil {
		return s, errors.Join(errArgs, err)
	}
	return s, nil
}

const (
	// threads run goroutines at once: the script, and whoever reads, watches and collects garbage.
	threads = 2
	// garbage is how many percent of what lives may be garbage: nearly nothing outlives a call, so that collections cost by their number.
	garbage = 400
	// stackBytes bounds one goroutine's stack: natives that call themselves end there, with the process.
	stackBytes = 64 << 20
	// ownBytes is what the process takes before any script runs, in steps of the runtime's arenas.
	ownBytes = 160 << 20
)

// Main is the whole life of a child; it returns the process' exit code. args are those of Settings.Args.
func Main(args []string) int {
	settings, err := parse(args)
	if err == nil {
		err = run(settings)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func run(s Settings) error {
	runtime.GOMAXPROCS(threads)
	debug.SetMaxStack(stackBytes)
	debug.SetMemoryLimit(s.MemoryBytes + s.MemoryBytes/2) // behind the limit of one call, so that no call is spent in collecting
	debug.SetTraceback("none")
	debug.SetGCPercent(garbage)
	// Twice the soft limit: the runtime collects late rather than die early.
	how, err := sandbox.Enter(sandbox.Limits{DataBytes: uint64(ownBytes + 2*s.MemoryBytes)})
	if err != nil && (!s.Weak || !errors.Is(err, sandbox.ErrWeak)) {
		return err
	}
	if err := pipe.Write(os.Stdout, script.AppendSource(nil, how)); err != nil {
		return fmt.Errorf("say that all is ready: %w", err)
	}
	w := newWorker(s, engine.New(engine.Limits{ResultChars: s.ResultChars, Depth: s.Depth}), os.Stdout)
	err = w.serve(os.Stdin)
	if errors.Is(err, io.EOF) {
		return nil // the parent is done with this process, or is gone
	}
	return err
}
