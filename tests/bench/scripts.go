package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/script"
)

// scriptsRole is a broker and a core node's part in scripts: it keeps a.InFlight calls of a filter under way to an executor, which it starts.
func scriptsRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.broker(ctx, &a); err != nil {
		return err
	}
	client, err := c.dial(ctx, a, "bench", topics.CoreResponses)
	if err != nil {
		return err
	}
	executor, err := startExecutor(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, executor.stop()) }()
	d := &callDriver{client: client, waiting: map[uint64]pendingCall{}, answered: make(chan struct{}, a.InFlight)}
	client.OnKind(topics.KindScript, d.receive)
	if _, err := d.keep(ctx, 1, time.Millisecond); err != nil { // it is there, and has the script
		return err
	}
	if _, err := d.keep(ctx, a.InFlight, warmUp(a.Duration)); err != nil {
		return err
	}
	r, err := d.keep(ctx, a.InFlight, a.Duration)
	if err != nil {
		return err
	}
	return say(r)
}

// startExecutor starts what answers calls.
func startExecutor(a assignment) (*child, error) {
	if a.Node == "" {
		return start(nil, a.Binary, "js-executor", "--bus-brokers", a.Brokers[0], "--node-id", "executor", "--admin-listen", "", "--log-level", "warn")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a.Role = "node-executor"
	argument, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return start(nil, self, roleArgument, string(argument))
}

// callDriver publishes calls as a core node does: what is called while a record is on its way is the next record.
type callDriver struct {
	client *bus.Client

	mu       sync.Mutex
	next     uint64
	waiting  map[uint64]pendingCall
	took     []time.Duration
	wrong    error
	answered chan struct{} // has room for all that is under way
}

type pendingCall struct{ began time.Time }

func (d *callDriver) receive(r bus.Record) {
	_, answers, err := script.DecodeAnswers(r.Value)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.wrong = err
	}
	now := time.Now()
	for i := range answers {
		call, ok := d.waiting[answers[i].ID]
		if !ok {
			continue
		}
		delete(d.waiting, answers[i].ID)
		if answers[i].Text != "true" {
			d.wrong = fmt.Errorf("a call was answered %v %q", answers[i].Outcome, answers[i].Text)
		}
		d.took = append(d.took, now.Sub(call.began))
		d.answered <- struct{}{}
	}
}

// keep keeps so many calls under way for as long, and waits for the last.
func (d *callDriver) keep(ctx context.Context, inFlight int, duration time.Duration) (report, error) {
	d.mu.Lock()
	d.took = nil
	d.mu.Unlock()
	atOnce := max(1, inFlight/10)
	began := time.Now()
	under := 0
	for time.Since(began) < duration || under > 0 {
		for time.Since(began) < duration && under+atOnce <= inFlight {
			if err := d.call(atOnce); err != nil {
				return report{}, err
			}
			under += atOnce
		}
		for range min(atOnce, under) {
			select {
			case <-d.answered:
				under--
			case <-ctx.Done():
				return report{}, ctx.Err()
			case <-time.After(time.Minute):
				return report{}, errors.New("a call was not answered in a minute")
			}
		}
	}
	elapsed := time.Since(began)
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.took)
	n := len(d.took)
	return report{Messages: n, Elapsed: elapsed, P50: d.took[n/2], P99: d.took[n*99/100]}, d.wrong
}

// call publishes n calls in one record.
func (d *callDriver) call(n int) error {
	call := benchCall(filterBody)
	key := call.Script.String()
	var record []byte
	d.mu.Lock()
	if d.next > 0 { // executors keep it
		call.Body, call.Parameters = "", nil
	}
	for range n {
		d.next++
		call.ID = d.next
		d.waiting[call.ID] = pendingCall{time.Now()}
		record = script.AppendCall(record, &call)
	}
	d.mu.Unlock()
	return d.client.Publish(bus.Message{
		Topic: topics.ScriptRequests, Key: []byte(key), Value: script.AppendSource(record, d.client.ReplyTopic()),
	}, nil)
}

// nodeExecutorRole is the Kafka client of an executor in Node, which has calls and answers over its pipes.
func nodeExecutorRole(ctx context.Context, a assignment, _ func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	client, err := c.dial(ctx, a, "executor", "")
	if err != nil {
		return err
	}
	command, err := installNode(a.Dir, a.Node)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b := &nodeBridge{client: client, in: in}
	var answering sync.WaitGroup
	answering.Go(func() { b.answer(bufio.NewReaderSize(out, 1<<20)) })
	partitions, err := client.Partitions(ctx, topics.ScriptRequests)
	if err != nil {
		return err
	}
	var reading sync.WaitGroup
	for p := range partitions {
		reading.Go(func() { b.read(ctx, p) })
	}
	reading.Wait()
	answering.Wait()
	_ = cmd.Wait() // killed, as ctx has ended
	return nil
}

// nodeBridge is between the broker and one Node process.
type nodeBridge struct {
	client *bus.Client
	mu     sync.Mutex
	in     interface{ Write([]byte) (int, error) }
	known  script.Call
	reply  string
}

// read passes a partition's calls on until ctx ends.
func (b *nodeBridge) read(ctx context.Context, partition int) {
	reader, err := b.client.OpenReader(ctx, topics.ScriptRequests, partition)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: read calls:", err)
		return
	}
	defer func() { _ = reader.Close() }() // nothing was committed
	for {
		records, err := reader.Read(ctx, 256)
		if err != nil {
			return // ctx has ended
		}
		for i := range records {
			if err := b.pass(records[i].Value); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "bench: pass calls on:", err)
			}
		}
	}
}

func (b *nodeBridge) pass(record []byte) error {
	reply, calls, err := script.DecodeCalls(record)
	if err != nil || len(calls) == 0 {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reply = reply
	if calls[0].Body != "" {
		b.known = calls[0]
	}
	calls[0].Parameters, calls[0].Body = b.known.Parameters, b.known.Body
	line, err := nodeLine(calls)
	if err != nil {
		return err
	}
	_, err = b.in.Write(line)
	return err
}

// answer publishes what the process answers until it ends.
func (b *nodeBridge) answer(r *bufio.Reader) {
	for {
		answers, err := readNodeLine(r)
		if err != nil {
			return // it has ended
		}
		var record []byte
		for i := range answers {
			record = script.AppendAnswer(record, &answers[i])
		}
		b.mu.Lock()
		topic := b.reply
		b.mu.Unlock()
		if err := b.client.Publish(bus.Message{
			Topic: topic, Value: script.AppendSource(record, "node"), Headers: []bus.Header{{Key: topics.KindHeader, Value: []byte(topics.KindScript)}},
		}, nil); err != nil {
			fmt.Fprintln(os.Stderr, "bench: publish answers:", err)
		}
	}
}
