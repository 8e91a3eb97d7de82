package jsexecutor

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/js-executor/internal/child"
	"github.com/sluice-iot/sluice/services/js-executor/internal/crew"
)

// Config is what operators set. Every bound on what tenants' scripts can make grow is here.
type Config struct {
	Sandbox string `name:"script-sandbox" default:"strict" enum:"strict,weak" help:"How scripts are shut in. strict: as only Linux can, else nothing is run. weak: where that is not possible, a watchdog and a soft memory limit will do."`

	Children    int           `name:"executor-children" default:"2" help:"Processes that run scripts. They are started when there is something to run."`
	Memory      int64         `name:"executor-memory" default:"67108864" help:"Bytes of memory scripts may take in one such process. A call that takes more ends; one that takes more than twice as much at once ends with its process, which is replaced."`
	Idle        time.Duration `name:"executor-idle" default:"1m" help:"After this long without calls the processes end."`
	Timeout     time.Duration `name:"executor-timeout" default:"2s" help:"How long a script may run, at most, whatever its caller allows."`
	Grace       time.Duration `name:"executor-grace" default:"100ms" help:"How much longer a process may take to stop a script before it is killed."`
	Depth       int           `name:"executor-depth" default:"2000" help:"How deep a script's calls may nest."`
	ResultChars int           `name:"executor-result" default:"300000" help:"Longest result, in UTF-16 code units of its JSON."`
	Programs    int           `name:"executor-programs" default:"1000" help:"Scripts each process keeps compiled, and the executor keeps the text of; those used least recently go first."`
	TextBytes   int           `name:"executor-text-bytes" default:"16777216" help:"Bytes of scripts' texts that are kept."`

	Window      int `name:"executor-window" default:"64" help:"Calls given to one process at once."`
	Queue       int `name:"executor-queue" default:"20000" help:"Calls that may wait; beyond it they are refused."`
	QueueBytes  int `name:"executor-queue-bytes" default:"67108864" help:"Bytes of arguments that may wait."`
	TenantQueue int `name:"executor-tenant-queue" default:"5000" help:"Calls of one tenant that may wait; beyond it they are refused. Its bytes are bounded in the same proportion."`
	ReplyBytes  int `name:"executor-reply-bytes" default:"16777216" help:"Bytes of answers that may wait for one caller; beyond it they are dropped, and the caller asks again."`

	Group        string        `name:"executor-group" default:"js-executors" help:"Consumer group of all executors of a fleet."`
	Session      time.Duration `name:"executor-session" default:"6s" help:"How long an executor may be silent before the others take its partitions over."`
	Heartbeat    time.Duration `name:"executor-heartbeat" default:"1s" help:"How often it says that it lives."`
	DrainTimeout time.Duration `name:"executor-drain-timeout" default:"2s" help:"How long a stopping executor waits for the calls in hand."`

	// Command starts a process that runs scripts; empty: this program, as a child.
	Command []string `settings:"-"`
	// Optional lets Run go on without running anything where scripts cannot be shut in, instead of failing.
	Optional bool `settings:"-"`
}

const (
	stuckAfter   = 20 * time.Millisecond
	startTimeout = 10 * time.Second
)

// check refuses settings that cannot work, naming them.
func (c *Config) check() error {
	var wrong []error
	for _, s := range []struct {
		name         string
		value, least int64
	}{
		{"executor-children", int64(c.Children), 1},
		{"executor-memory", c.Memory, 8 << 20},
		{"executor-idle", int64(c.Idle), int64(time.Millisecond)},
		{"executor-timeout", int64(c.Timeout), int64(time.Millisecond)},
		{"executor-grace", int64(c.Grace), int64(time.Millisecond)},
		{"executor-depth", int64(c.Depth), 10},
		{"executor-result", int64(c.ResultChars), 1},
		{"executor-programs", int64(c.Programs), 1},
		{"executor-text-bytes", int64(c.TextBytes), 1},
		{"executor-window", int64(c.Window), 1},
		{"executor-queue", int64(c.Queue), 1},
		{"executor-queue-bytes", int64(c.QueueBytes), 1 << 20},
		{"executor-tenant-queue", int64(c.TenantQueue), 1},
		{"executor-reply-bytes", int64(c.ReplyBytes), 1 << 20},
		{"executor-session", int64(c.Session), int64(time.Second)},
		{"executor-heartbeat", int64(c.Heartbeat), int64(time.Millisecond)},
		{"executor-drain-timeout", int64(c.DrainTimeout), 0},
	} {
		if s.value < s.least {
			wrong = append(wrong, fmt.Errorf("%s: must be at least %d", s.name, s.least))
		}
	}
	if c.Sandbox != sandboxStrict && c.Sandbox != sandboxWeak {
		wrong = append(wrong, fmt.Errorf("script-sandbox: %q is neither %s nor %s", c.Sandbox, sandboxStrict, sandboxWeak))
	}
	if c.Group == "" {
		wrong = append(wrong, errors.New("executor-group: has to have a name"))
	}
	return errors.Join(wrong...)
}

// The values of script-sandbox.
const (
	sandboxStrict = "strict"
	sandboxWeak   = "weak"
)

// child are the settings of a process that runs scripts.
func (c *Config) child() child.Settings {
	return child.Settings{
		MemoryBytes: c.Memory, ResultChars: c.ResultChars, Depth: c.Depth, Programs: c.Programs, Weak: c.Sandbox == sandboxWeak,
	}
}

func (c *Config) limits() crew.Limits {
	return crew.Limits{
		Children: c.Children, Window: c.Window,
		QueueCalls: c.Queue, QueueBytes: c.QueueBytes,
		TenantCalls: c.TenantQueue, TenantBytes: max(1<<20, int(int64(c.QueueBytes)*int64(c.TenantQueue)/int64(max(1, c.Queue)))),
		Bodies: c.Programs, BodyBytes: c.TextBytes,
		Idle: c.Idle, Stuck: stuckAfter, Grace: c.Grace, Start: startTimeout,
	}
}
