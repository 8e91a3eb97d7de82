// Package part starts the programs that Sluice needs or is compared with, for tests: Kafka, ZooKeeper, Cassandra,
// Redis, S3Proxy, HAProxy, mosquitto. Each runs as a process on free ports of 127.0.0.1, with its configuration, data and log
// in a folder that the caller gives and removes, and ends at the latest with the process that started it.
package part

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long an orderly stop may take before SIGKILL follows.
const stopPatience = 30 * time.Second

// Command says how a process is started. Dir must exist; the log goes into it as Name.log, appended at a restart.
type Command struct {
	Name    string
	Program string
	Args    []string
	Env     []string // NAME=value, beyond the caller's own, of which those called SLUICE_… are left out
	Dir     string
	// Ready returns nil once the program does its work, by its own protocol. It is asked every few milliseconds.
	Ready func(context.Context) error
	// Patience is how long the program may take to be ready; 0 is five minutes, for a machine that does much else.
	Patience time.Duration
}

// Process is one program that can be stopped, killed, paused and started again on the same data and ports.
// All methods may be called from any goroutine; those that start and end the program one at a time.
type Process struct {
	Command
	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	took   time.Duration
}

// NewProcess prepares a process; nothing runs yet.
func NewProcess(c Command) *Process {
	if c.Patience == 0 {
		c.Patience = 5 * time.Minute
	}
	return &Process{Command: c}
}

// Start starts the program and waits until it is ready. On an error the program is ended.
func (p *Process) Start(ctx context.Context) error {
	began := time.Now()
	if err := p.Launch(); err != nil {
		return err
	}
	if err := p.AwaitReady(ctx); err != nil {
		p.Kill()
		return err
	}
	p.mu.Lock()
	p.took = time.Since(began)
	p.mu.Unlock()
	return nil
}

// Took is how long the last Start lasted.
func (p *Process) Took() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took
}

// Launch starts the program without waiting until it is ready.
func (p *Process) Launch() error {
	if p.Running() {
		return fmt.Errorf("start %s: it runs already", p.Name)
	}
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(p.Program, p.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	cmd.Env = append(Environ(), p.Env...)
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // a killed process ends with an error: expected
		close(exited)
	}()
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	return nil
}

// Environ is this process's environment without what is meant for it alone: Sluice's roles refuse a variable called
// SLUICE_… that they do not know, and SLUICE_TEST_KAFKA is one.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "SLUICE_") })
}

// AwaitReady waits until the launched program is ready, has ended, or Patience is over.
func (p *Process) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%s ended before it was ready:\n%s", p.Name, p.lastLines(30))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w\n%s", p.Name, ctx.Err(), err, p.lastLines(30))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the program in order: SIGTERM, and SIGKILL when that takes too long, which is an error.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil
	}
	_ = p.Continue() // a paused process would not see SIGTERM; one that is gone needs none
	p.Signal(syscall.SIGTERM)
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	select {
	case <-exited:
		return nil
	case <-time.After(stopPatience):
		p.Kill()
		return fmt.Errorf("%s did not stop within %s and was killed", p.Name, stopPatience)
	}
}

// Kill ends the program with SIGKILL and waits for its end.
func (p *Process) Kill() {
	if p.Signal(syscall.SIGKILL) {
		p.Wait()
	}
}

// Restart kills the program where it still runs and starts it again on the same data and ports.
func (p *Process) Restart(ctx context.Context) error {
	p.Kill()
	return p.Start(ctx)
}

// Pause stops the program with SIGSTOP, and returns when it really stands.
func (p *Process) Pause() error {
	if !p.Signal(syscall.SIGSTOP) {
		return fmt.Errorf("pause %s: it does not run", p.Name)
	}
	return p.await("stand", func(state string) bool { return state == "T" })
}

// Continue lets a paused program go on, and returns when it does.
func (p *Process) Continue() error {
	if !p.Signal(syscall.SIGCONT) {
		return fmt.Errorf("continue %s: it does not run", p.Name)
	}
	return p.await("go on", func(state string) bool { return state != "T" })
}

func (p *Process) await(what string, reached func(state string) bool) error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		// The name, in parentheses, may hold anything: the state follows the last of them.
		if fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])); len(fields) > 0 && reached(fields[0]) {
			return nil
		}
	}
	return fmt.Errorf("%s does not %s", p.Name, what)
}

// Signal sends the program a signal; false when none was ever started. One that is gone already is as good.
func (p *Process) Signal(signal syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	_ = p.cmd.Process.Signal(signal)
	return true
}

// Wait waits for the end of the program and returns its exit code: -1 when a signal ended it.
func (p *Process) Wait() int {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	<-exited
	return cmd.ProcessState.ExitCode()
}

// Running returns whether the program was started and has not ended.
func (p *Process) Running() bool {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return false
	}
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// PID returns the program's process id; it must have been started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Output returns all the program printed so far, over all its starts.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.logPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(text)
}

// Lines returns what the program printed, line by line, where a line contains text; all lines for "".
func (p *Process) Lines(text string) []string {
	var found []string
	for line := range strings.Lines(p.Output()) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimRight(line, "\n"))
		}
	}
	return found
}

func (p *Process) lastLines(n int) string {
	lines := p.Lines("")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *Process) logPath() string { return filepath.Join(p.Dir, p.Name+".log") }
