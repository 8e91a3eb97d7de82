// Package script is how a core node has tenants' scripts run: executors do it, asked over the bus. Errors are
// either the script's own (Error) or the platform's; the latter say nothing about the script.
package script

import (
	"errors"
	"fmt"
	"time"
)

// Config is what operators set.
type Config struct {
	Timeout       time.Duration `name:"script-timeout" default:"500ms" help:"How long a script may run; at most 2s, and no longer than executors allow."`
	Budget        time.Duration `name:"script-budget" default:"4s" help:"How long a call may take, waiting included. A call without answer is asked of another executor after each quarter of it."`
	Errors        int           `name:"script-errors" default:"3" help:"After so many time-outs and the like a script is blocked."`
	BlockFor      time.Duration `name:"script-block" default:"1m" help:"How long a script is blocked, from its latest error on. An edited script is another one."`
	Pending       int           `name:"script-pending" default:"10000" help:"Calls that may be under way; beyond it they fail."`
	PendingBytes  int           `name:"script-pending-bytes" default:"67108864" help:"Bytes of their arguments."`
	TenantPending int           `name:"script-tenant-pending" default:"2500" help:"Calls of one tenant that may be under way."`
	BodyChars     int           `name:"script-body" default:"50000" help:"Longest script, in UTF-16 code units."`
	ArgChars      int           `name:"script-arguments" default:"100000" help:"Longest arguments of a call together, in UTF-16 code units."`
}

const (
	mostTimeout = 2 * time.Second
	// spread is how many calls of a script are under way before a further executor is asked, as long as there are that many.
	spread, mostParts = 64, 16
	quarters          = 4
)

// Check refuses settings that cannot work, naming them.
func (c *Config) Check() error {
	var wrong []error
	for _, s := range []struct {
		name         string
		value, least int64
	}{
		{"script-timeout", int64(c.Timeout), int64(time.Millisecond)},
		{"script-budget", int64(c.Budget), int64(c.Timeout)},
		{"script-errors", int64(c.Errors), 1},
		{"script-block", int64(c.BlockFor), 1},
		{"script-pending", int64(c.Pending), 1},
		{"script-pending-bytes", int64(c.PendingBytes), 1},
		{"script-tenant-pending", int64(c.TenantPending), 1},
		{"script-body", int64(c.BodyChars), 1},
		{"script-arguments", int64(c.ArgChars), 1},
	} {
		if s.value < s.least {
			wrong = append(wrong, fmt.Errorf("%s: must be at least %d", s.name, s.least))
		}
	}
	if c.Timeout > mostTimeout {
		wrong = append(wrong, fmt.Errorf("script-timeout: at most %v", mostTimeout))
	}
	return errors.Join(wrong...)
}
