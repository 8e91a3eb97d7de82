package crew

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/child"
	"github.com/sluice-iot/sluice/services/js-executor/internal/engine"
	"github.com/sluice-iot/sluice/services/js-executor/internal/pipe"
)

// worker is one process. Its fields but those of the pipe are guarded by the crew's lock.
type worker struct {
	crew *Crew
	how  string // it is shut in

	given    []*call        // in the order they were sent
	since    time.Time      // the first of them has been the first
	looked   time.Time      // since, when used was looked up
	stood    time.Duration  // how long the machine stood still since then
	used     time.Duration  // processor time of the process
	reserved *call          // gets the process once it is empty
	stuck    bool           // in its first call
	asked    bool           // to give back what it has not begun
	killed   script.Outcome // for its first call, whose outcome it is
	closing  bool
	knows    map[script.ID]bool

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors tail

	pipeMu sync.Mutex
	buffer []byte
	filled *sync.Cond
	done   bool
}

const readBytes = 64 << 10

// launch starts a process and waits until it is ready.
func (c *Crew) launch(ctx context.Context) (*worker, error) {
	w := &worker{crew: c, knows: map[script.ID]bool{}}
	w.filled = sync.NewCond(&w.pipeMu)
	command := append(append([]string{}, c.o.Command...), c.o.Child.Args()...)
	w.cmd = exec.Command(command[0], command[1:]...)
	w.cmd.Env, w.cmd.Dir, w.cmd.Stderr = []string{}, "/", &w.errors
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	w.out = bufio.NewReaderSize(out, readBytes)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	late := time.AfterFunc(c.o.Limits.Start, func() { _ = w.cmd.Process.Kill() })
	defer late.Stop()
	defer context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })()
	text, err := pipe.Read(w.out)
	if err != nil {
		_ = w.cmd.Wait() // what it wrote tells more
		return nil, fmt.Errorf("start process: %w: %s", err, w.errors.text())
	}
	if w.how, _, err = script.DecodeAnswers(text); err != nil {
		return nil, errors.Join(err, w.end())
	}
	return w, nil
}

// end ends a process that has nothing to do, without its goroutines.
func (w *worker) end() error {
	if err := w.in.Close(); err != nil {
		return fmt.Errorf("end process: %w", err)
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("end process: %w", err)
	}
	return nil
}

// open reports whether the process takes another call.
func (w *worker) open(window int) bool {
	return !w.stuck && !w.asked && w.killed == script.OK && !w.closing && w.reserved == nil && len(w.given) < window && (len(w.given) == 0 || !w.given[0].alone)
}

// learn remembers that the process has a script, as long as it surely has: it keeps those used last, and asks for what it lost.
func (w *worker) learn(id script.ID, most int) {
	if len(w.knows) >= most {
		clear(w.knows)
	}
	w.knows[id] = true
}

// send puts a call into what is written next.
func (w *worker) send(c *script.Call) {
	w.pipeMu.Lock()
	defer w.pipeMu.Unlock()
	if len(w.buffer) == 0 {
		w.buffer = pipe.Begin(w.buffer)
	}
	w.buffer = script.AppendCall(w.buffer, c)
	w.filled.Signal()
}

// askBack asks for the calls that were not begun, those that were not even written included.
func (w *worker) askBack() {
	w.asked = true
	w.pipeMu.Lock()
	defer w.pipeMu.Unlock()
	w.buffer = pipe.Begin(w.buffer)
	w.filled.Signal()
}

// write writes what was sent while the last write was under way, until the process ends.
func (w *worker) write() {
	var writing []byte
	for {
		w.pipeMu.Lock()
		for len(w.buffer) == 0 && !w.done {
			w.filled.Wait()
		}
		writing, w.buffer = w.buffer, writing[:0]
		done := w.done
		w.pipeMu.Unlock()
		if done {
			return
		}
		if _, err := w.in.Write(pipe.End(writing)); err != nil {
			w.kill() // it is gone, or going: its reader sees to the calls
			return
		}
	}
}

// close lets the process end when it has nothing to do. mu of the crew is held.
func (w *worker) close() {
	w.closing = true
	w.pipeMu.Lock()
	defer w.pipeMu.Unlock()
	if !w.done {
		w.done = true
		w.filled.Signal()
		_ = w.in.Close() // a child ends when its input does; one that is busy is killed below
	}
	if len(w.given) > 0 {
		w.kill()
	}
}

func (w *worker) kill() { _ = w.cmd.Process.Kill() } // it fails only for one that has ended

// read takes answers until the process ends.
func (w *worker) read() {
	var failed error
	for failed == nil {
		var (
			text    []byte
			source  string
			answers []script.Answer
		)
		if text, failed = pipe.Read(w.out); failed == nil {
			source, answers, failed = script.DecodeAnswers(text)
		}
		if failed != nil {
			break
		}
		w.crew.mu.Lock()
		if last := len(answers) - 1; source == child.GivenBack && last >= 0 {
			w.crew.answered(w, answers[:last])
			w.crew.gaveBack(w, answers[last].ID)
		} else {
			w.crew.answered(w, answers)
		}
		w.crew.next(w)
		w.crew.release()
	}
	w.kill() // it has ended, unless what it wrote was wrong
	how := w.death(w.cmd.Wait())
	w.pipeMu.Lock()
	w.done = true
	w.filled.Signal()
	w.pipeMu.Unlock()
	w.crew.mu.Lock()
	w.crew.died(w, how)
	w.crew.release()
}

// death is how a process ended.
type death struct {
	fromOutside bool // somebody else killed it
	stack       bool
	thread      bool // the system gave it none, which may be the machine's fault
	text        string
}

func (w *worker) death(err error) death {
	text := w.errors.text()
	var exit *exec.ExitError
	return death{
		fromOutside: errors.As(err, &exit) && !exit.Exited(),
		thread:      strings.Contains(text, "pthread_create failed") || strings.Contains(text, "failed to create new OS thread"),
		stack:       strings.Contains(text, "stack overflow") || strings.Contains(text, "stack exceeds"),
		text:        text,
	}
}

// answer is what the guilty call is told.
func (d death) answer() *script.Answer {
	if d.stack {
		return &script.Answer{Outcome: script.Memory, Text: "RangeError: Maximum call stack size exceeded"}
	}
	return &script.Answer{Outcome: script.Memory, Text: engine.TextMemory}
}

// tail keeps the beginning of what a process says before it dies.
type tail struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

// tailBytes is enough to know why.
const tailBytes = 512

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := tailBytes - t.kept.Len(); room > 0 {
		t.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.kept.String())
}
