package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// roleArgument makes this program a part to be measured in a process of its own, so that its
// memory and processor time are its own.
const roleArgument = "role"

// assignment is what a role is told: one JSON argument.
type assignment struct {
	Role     string
	Dir      string
	Clients  int
	InFlight int
	Duration time.Duration
	Messages int
	Rate     float64
	// Brokers are those to use, with topics whose names begin with Prefix; without any the role has a broker of its own.
	Brokers []string
	Prefix  string
	// Binary is sluice; Node what a Node executor gives a call, "" for ours.
	Binary, Node string
	// Memory has the role's own broker keep its messages in memory.
	Memory bool
	// Cassandra, host:port, and Keyspace are where rows go.
	Cassandra, Keyspace string
}

// report is what a role prints, as a line of JSON: where it listens once it is ready, or what it measured.
type report struct {
	MQTT, HTTP, CoAP, CoAPS string
	Messages                int
	Elapsed                 time.Duration
	P50, P99                time.Duration
}

// perSecond is the measured rate.
func (r report) perSecond() float64 { return float64(r.Messages) / r.Elapsed.Seconds() }

// playRole is the child's side: it ends when its parent closes the pipe, or is gone.
func playRole(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("role: want one argument")
	}
	var a assignment
	if err := json.Unmarshal([]byte(arguments[0]), &a); err != nil {
		return fmt.Errorf("role: %w", err)
	}
	play, ok := map[string]func(context.Context, assignment, func(report) error) error{
		"edge": edgeRole, "bus": busRole, "writer": writerRole, "http": httpRole, "pebble": pebbleRole, "relay": relayRole, "hops": hopsRole,
		"answers": answersRole, "rows": rowsRole, "scripts": scriptsRole, "node-executor": nodeExecutorRole,
	}[a.Role]
	if !ok {
		return fmt.Errorf("role: no role %q", a.Role)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the message
		cancel()
	}()
	go collectOnSignal(ctx)
	return play(ctx, a, func(r report) error { return json.NewEncoder(os.Stdout).Encode(r) })
}

// child is a process this program started.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	// lines are the first few it printed; closed when it prints no more.
	lines chan string
}

// start starts a program whose end is awaited by stop. environ is added to the environment.
func start(environ []string, name string, arguments ...string) (*child, error) {
	c := &child{cmd: exec.Command(name, arguments...)}
	c.cmd.Env = append(os.Environ(), environ...)
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdin, c.lines = stdin, make(chan string, 16)
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.listen(stdout)
	return c, nil
}

// listen reads what the process prints until its end, so that it never waits for a reader.
func (c *child) listen(stdout io.Reader) {
	defer close(c.lines)
	for printed := bufio.NewScanner(stdout); printed.Scan(); {
		select {
		case c.lines <- printed.Text():
		default: // nobody wants that many
		}
	}
}

// startRole starts this program in a role and waits for its first report.
func startRole(a assignment) (*child, report, error) {
	argument, err := json.Marshal(a)
	if err != nil {
		return nil, report{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, report{}, err
	}
	c, err := start(nil, self, roleArgument, string(argument))
	if err != nil {
		return nil, report{}, err
	}
	var r report
	line := <-c.lines
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return nil, r, fmt.Errorf("role %s said %q: %w", a.Role, line, errors.Join(err, c.stop()))
	}
	return c, r, nil
}

// stop ends the process and waits for its end.
func (c *child) stop() error {
	_ = c.stdin.Close() // a process that is gone has closed it
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		for range c.lines {
			continue
		}
		_ = c.cmd.Wait() // an orderly end, or that of the signal
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(20 * time.Second):
		_ = c.cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%s did not stop in time", c.cmd.Path)
	}
}

// kill ends the process with SIGKILL; stop is still to be called.
func (c *child) kill() error { return c.cmd.Process.Kill() }

// collect has a role drop its garbage and give the memory back, so that what is left is in use.
func (c *child) collect() error {
	if err := c.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	time.Sleep(settle)
	return nil
}

// collectOnSignal is the role's side of collect; it ends with ctx.
func collectOnSignal(ctx context.Context) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-asked:
			debug.FreeOSMemory()
		case <-ctx.Done():
			return
		}
	}
}

// resident returns the process's resident memory in bytes.
func (c *child) resident() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return float64(kb) * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", c.cmd.Process.Pid)
}
