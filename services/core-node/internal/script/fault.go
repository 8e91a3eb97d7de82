package script

import (
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/script"
)

// Kind is what kind of fault a script has.
type Kind int

// The kinds.
const (
	Invalid  Kind = iota // refused before it was compiled
	Compile              // no body of a function
	Runtime              // it threw
	Timeout              // it ran too long
	Memory               // it took too much memory
	TooLarge             // its arguments or its result are
	Blocked              // it had too many errors of late
	Pending              // too many calls are under way
)

var kinds = [...]string{"invalid", "compile", "runtime", "timeout", "memory", "too_large", "blocked", "pending"}

func (k Kind) String() string { return kinds[k] }

// Error is a script's own fault, fit for people.
type Error struct {
	Kind Kind
	Text string
	// Line is where, in the body, from 1; 0: not known.
	Line int
}

func (e *Error) Error() string { return e.Text }

// counts reports whether such an error brings a script nearer to being blocked.
func (e *Error) counts() bool {
	return e.Kind == Timeout || e.Kind == Memory || e.Kind == Compile
}

// away is the error of a call that nobody answered: the platform's.
func away(why string) error { return fault.New(fault.Unavailable, "run script: "+why) }

// outcome is an answer as an error; nil when there is a result.
func outcome(a *script.Answer) error {
	switch a.Outcome {
	case script.OK:
		return nil
	case script.Compilation:
		return &Error{Kind: Compile, Text: a.Text, Line: a.Line}
	case script.Runtime:
		return &Error{Kind: Runtime, Text: a.Text, Line: a.Line}
	case script.Timeout:
		return &Error{Kind: Timeout, Text: a.Text}
	case script.Memory:
		return &Error{Kind: Memory, Text: a.Text}
	case script.ResultTooLarge:
		return &Error{Kind: TooLarge, Text: a.Text}
	case script.Pending:
		return &Error{Kind: Pending, Text: a.Text}
	case script.NotFound:
		return away("executors do not keep its text")
	default:
		return away(fmt.Sprintf("an executor says %v", a.Outcome))
	}
}
