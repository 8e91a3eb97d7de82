package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
)

// evaluateAtOnce is how many calls are written at once; as many more are on their way.
const evaluateAtOnce = 64

// evaluator is a process that runs scripts, fed by pipes.
type evaluator struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	// batch is evaluateAtOnce calls as the process takes them; read reads the answers to as many and checks them.
	batch []byte
	read  func(r *bufio.Reader) (answers int, err error)
}

// evaluateOurs returns how many calls of a script one of our processes runs per second of processor time, what comes and goes over its pipes included.
func evaluateOurs(ctx context.Context, program, body string, d time.Duration) (float64, error) {
	// What js-executor starts, with its default settings.
	e := &evaluator{cmd: exec.CommandContext(ctx, program, "-script-child", "67108864", "300000", "2000", "1000", "false")}
	call := benchCall(body)
	calls := make([]byte, 4)
	for i := range evaluateAtOnce {
		call.ID = uint64(i + 1)
		calls = script.AppendCall(calls, &call)
	}
	binary.BigEndian.PutUint32(calls, uint32(len(calls)-4))
	e.batch = calls
	e.read = func(r *bufio.Reader) (int, error) {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return 0, err
		}
		text := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, text); err != nil {
			return 0, err
		}
		_, answers, err := script.DecodeAnswers(text)
		for i := range answers {
			if answers[i].Outcome != script.OK {
				return 0, fmt.Errorf("a call ended as %v: %s", answers[i].Outcome, answers[i].Text)
			}
		}
		return len(answers), err
	}
	return e.run(d)
}

// evaluateNode is evaluateOurs in Node.
func evaluateNode(ctx context.Context, dir, node, body string, d time.Duration) (float64, error) {
	command, err := installNode(dir, node)
	if err != nil {
		return 0, err
	}
	e := &evaluator{cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	calls := make([]script.Call, evaluateAtOnce)
	for i := range calls {
		calls[i] = benchCall(body)
		calls[i].ID = uint64(i + 1)
	}
	if e.batch, err = nodeLine(calls); err != nil {
		return 0, err
	}
	e.read = func(r *bufio.Reader) (int, error) {
		answers, err := readNodeLine(r)
		return len(answers), err
	}
	return e.run(d)
}

// run feeds the process for d, after a warm-up, and ends it.
func (e *evaluator) run(d time.Duration) (rate float64, err error) {
	e.cmd.Stderr = os.Stderr
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return 0, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	e.out = bufio.NewReaderSize(out, 1<<20)
	if err := e.cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, e.in.Close())
		_, _ = io.Copy(io.Discard, e.out) // until it ends
		err = errors.Join(err, e.cmd.Wait())
	}()
	if _, err := e.feed(warmUp(d)); err != nil {
		return 0, err
	}
	before, err := processorTime(e.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	done, err := e.feed(d)
	if err != nil {
		return 0, err
	}
	used, err := processorTime(e.cmd.Process.Pid)
	return float64(done) / (used - before).Seconds(), err
}

// feed keeps two batches on their way for d, and waits for the last.
func (e *evaluator) feed(d time.Duration) (done int, err error) {
	sent := 0
	for began := time.Now(); time.Since(began) < d || done < sent; {
		for time.Since(began) < d && sent-done <= evaluateAtOnce {
			if _, err := e.in.Write(e.batch); err != nil {
				return done, err
			}
			sent += evaluateAtOnce
		}
		answers, err := e.read(e.out)
		if err != nil {
			return done, err
		}
		done += answers
	}
	return done, nil
}

// processorTime is what a process has had so far, in steps of 10 ms.
func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the program's name
	const user, system, ticks = 11, 12, 100
	fields := strings.Fields(rest)
	if len(fields) <= system {
		return 0, fmt.Errorf("processor time of process %d: %q", pid, text)
	}
	a, errA := strconv.Atoi(fields[user])
	b, errB := strconv.Atoi(fields[system])
	return time.Duration(a+b) * time.Second / ticks, errors.Join(errA, errB)
}

// nodeLine is calls of one script as node-executor.js takes them.
func nodeLine(calls []script.Call) ([]byte, error) {
	line := struct {
		Script     string   `json:"script"`
		Parameters []string `json:"parameters"`
		Body       string   `json:"body"`
		Calls      [][2]any `json:"calls"`
	}{Script: calls[0].Script.String(), Parameters: calls[0].Parameters, Body: calls[0].Body}
	for i := range calls {
		line.Calls = append(line.Calls, [2]any{calls[i].ID, calls[i].Args})
	}
	text, err := json.Marshal(line)
	return append(text, '\n'), err
}

// readNodeLine returns the answers in the next line.
func readNodeLine(r *bufio.Reader) (answers []script.Answer, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	var written [][2]json.RawMessage
	if err := json.Unmarshal(line, &written); err != nil {
		return nil, err
	}
	answers = make([]script.Answer, len(written))
	for i := range written {
		if err := errors.Join(json.Unmarshal(written[i][0], &answers[i].ID), json.Unmarshal(written[i][1], &answers[i].Text)); err != nil {
			return nil, err
		}
	}
	return answers, nil
}
