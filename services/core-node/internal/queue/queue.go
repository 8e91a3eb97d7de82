// Package queue is the queues rule messages travel on: in which order what is on one is started, and what
// becomes of messages that fail or take too long (rule-engine reference §6).
package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/sluice-iot/sluice/bus/topics"
)

// Submit is the order in which a queue's messages are started.
type Submit string

// The orders. In each of them every node sees one originator's messages in the order they came.
const (
	Burst                  Submit = "BURST"                    // all at once
	Batch                  Submit = "BATCH"                    // so many, and the next when all of them have their fate
	SequentialByOriginator Submit = "SEQUENTIAL_BY_ORIGINATOR" // one of each originator
	SequentialByTenant     Submit = "SEQUENTIAL_BY_TENANT"     // one of each tenant
	Sequential             Submit = "SEQUENTIAL"               // one of the partition
)

// Processing says which messages are tried again. What is not is a dead letter, never lost.
type Processing string

// The choices.
const (
	SkipAllFailures            Processing = "SKIP_ALL_FAILURES"
	SkipAllFailuresAndTimedOut Processing = "SKIP_ALL_FAILURES_AND_TIMED_OUT"
	RetryAll                   Processing = "RETRY_ALL" // all of a pack, if one of it fails
	RetryFailed                Processing = "RETRY_FAILED"
	RetryTimedOut              Processing = "RETRY_TIMED_OUT"
	RetryFailedAndTimedOut     Processing = "RETRY_FAILED_AND_TIMED_OUT"
)

// Queue is one queue. Its topic follows from its name.
type Queue struct {
	Name       string
	Submit     Submit
	BatchSize  int
	Processing Processing
	// Retries is how often a message is tried again; Unlimited has no end.
	Retries int
	// FailurePercentage is the share of a pack, in percent, beyond which what failed is not tried again; 0 is no such bound.
	FailurePercentage float64
	// Pause before the first retry; it doubles up to MaxPause.
	Pause, MaxPause time.Duration
	// Timeout is how long nodes may work on a message; waiting for the platform, or in line for it, does not count.
	Timeout time.Duration
}

// Unlimited, as Retries, means until it succeeds.
const Unlimited = -1

// Topic is where the queue's messages are.
func (q *Queue) Topic() string { return topics.Queue(q.Name) }

// Main reports whether it is the queue of whatever names none.
func (q *Queue) Main() bool { return q.Name == topics.MainQueue }

// RetriesOf reports whether the queue tries again what failed, and what took too long.
func (q *Queue) RetriesOf() (failed, timedOut bool) {
	switch q.Processing {
	case RetryAll, RetryFailedAndTimedOut:
		return true, true
	case RetryFailed:
		return true, false
	case RetryTimedOut:
		return false, true
	}
	return false, false
}

// ByPack reports whether what is tried again is decided when a whole pack has ended, not message by message.
func (q *Queue) ByPack() bool {
	return (q.Submit == Burst || q.Submit == Batch) && (q.Processing == RetryAll || q.FailurePercentage > 0)
}

// timeout is how long a message of the standard queues may take.
const timeout = time.Minute

// Standard returns the queues there always are. retries is how often the main one tries a failed message again.
func Standard(retries int, pause time.Duration) []Queue {
	main := Queue{Name: topics.MainQueue, Submit: Burst, BatchSize: 1000, Processing: SkipAllFailures, Pause: pause, MaxPause: time.Minute, Timeout: timeout}
	if retries > 0 {
		main.Processing, main.Retries = RetryFailed, retries
	}
	const five = 5 * time.Second
	return []Queue{
		main,
		{Name: topics.HighPriorityQueue, Submit: Burst, BatchSize: 100, Processing: RetryFailedAndTimedOut, Retries: 10, Pause: five, MaxPause: time.Minute, Timeout: timeout},
		{Name: topics.SequentialQueue, Submit: SequentialByOriginator, BatchSize: 100, Processing: RetryFailedAndTimedOut, Retries: 3, Pause: five, MaxPause: five, Timeout: timeout},
	}
}

// entry is a queue as the REST API writes it.
type entry struct {
	Name     string `json:"name"`
	TimeoutM int64  `json:"packProcessingTimeout"`
	Submit   struct {
		Type      Submit `json:"type"`
		BatchSize int    `json:"batchSize"`
	} `json:"submitStrategy"`
	Processing struct {
		Type              Processing `json:"type"`
		Retries           int        `json:"retries"`
		FailurePercentage float64    `json:"failurePercentage"`
		Pause             int64      `json:"pauseBetweenRetries"`
		MaxPause          int64      `json:"maxPauseBetweenRetries"`
	} `json:"processingStrategy"`
}

// Read returns standard with the queues of a file put in, which replace those of the same name. The file is a JSON array of
// queues as the REST API writes them; fields that do not exist here are ignored.
func Read(file string, standard []Queue) ([]Queue, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	var entries []entry
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("read queues of %s: %w", file, err)
	}
	queues := standard
	for i, e := range entries {
		q, err := e.queue()
		if err != nil {
			return nil, fmt.Errorf("read queues of %s: queue %d %q: %w", file, i, e.Name, err)
		}
		queues = put(queues, q)
	}
	return queues, nil
}

func put(queues []Queue, q Queue) []Queue {
	for i := range queues {
		if queues[i].Name == q.Name {
			queues[i] = q
			return queues
		}
	}
	return append(queues, q)
}

var name = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func (e entry) queue() (Queue, error) {
	q := Queue{
		Name: e.Name, Submit: e.Submit.Type, BatchSize: e.Submit.BatchSize, Processing: e.Processing.Type,
		Retries: e.Processing.Retries, FailurePercentage: e.Processing.FailurePercentage,
		Pause: time.Duration(e.Processing.Pause) * time.Second, MaxPause: time.Duration(e.Processing.MaxPause) * time.Second,
		Timeout: time.Duration(e.TimeoutM) * time.Millisecond,
	}
	if q.Retries == 0 {
		q.Retries = Unlimited
	}
	if q.Timeout == 0 {
		q.Timeout = timeout
	}
	return q, q.validate()
}

func (q *Queue) validate() error {
	if !name.MatchString(q.Name) {
		return errors.New("name: up to 100 of letters, digits, _ and - are needed")
	}
	switch q.Submit {
	case Burst, SequentialByOriginator, SequentialByTenant, Sequential:
	case Batch:
		if q.BatchSize < 1 {
			return fmt.Errorf("submitStrategy.batchSize: %d is not a positive number", q.BatchSize)
		}
	default:
		return fmt.Errorf("submitStrategy.type: %q is none of BURST, BATCH, SEQUENTIAL_BY_ORIGINATOR, SEQUENTIAL_BY_TENANT, SEQUENTIAL", q.Submit)
	}
	switch q.Processing {
	case SkipAllFailures, SkipAllFailuresAndTimedOut, RetryAll, RetryFailed, RetryTimedOut, RetryFailedAndTimedOut:
	default:
		return fmt.Errorf("processingStrategy.type: %q is not known", q.Processing)
	}
	switch {
	case q.Retries < Unlimited:
		return fmt.Errorf("processingStrategy.retries: %d is negative", q.Retries)
	case q.FailurePercentage < 0 || q.FailurePercentage > 100:
		return fmt.Errorf("processingStrategy.failurePercentage: %v is not between 0 and 100", q.FailurePercentage)
	case q.Pause < 0 || q.MaxPause < q.Pause:
		return errors.New("processingStrategy.maxPauseBetweenRetries: it is less than pauseBetweenRetries")
	case q.Timeout < 0:
		return errors.New("packProcessingTimeout: it is negative")
	}
	return nil
}
