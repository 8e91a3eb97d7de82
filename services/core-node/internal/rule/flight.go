package rule

import (
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Flight is one message on its way through a chain, with every copy its nodes make. It ends
// once, when all of them have.
type Flight struct {
	Message Message
	Chain   *Chain
	// Attempts counts the starts.
	Attempts int
	// Owner is whatever the one who started the flight wants to find again.
	Owner any

	branches   int32
	executions int32
	err        error
	where      string
}

// Err is the first error that no Failure link took, nil if there was none.
func (f *Flight) Err() error { return f.err }

// Where names the chain and node at which Err came up.
func (f *Flight) Where() string { return f.where }

// Fail ends a flight that could not even start.
func (f *Flight) Fail(where string, err error) { f.err, f.where = err, where }

func (f *Flight) failAt(at int, err error) {
	if f.err != nil {
		return
	}
	f.err = err
	f.where = fmt.Sprintf("rule chain %q node %q", f.Chain.Name, f.Chain.steps[at].name)
}

// branch is one copy of a flight's message about to enter a step.
type branch struct {
	flight  *Flight
	at      int
	message *Message
}

// lane keeps an originator's messages in order while one of its flights has to wait: what comes
// later stands behind it.
type lane struct {
	holder  *Flight
	waiting []branch
}

type lanes map[ident.EntityID]*lane

// admit reports whether b may run now; if not, it has been put in line.
func (l lanes) admit(b branch) bool {
	if len(l) == 0 {
		return true
	}
	held := l[b.flight.Message.Originator]
	if held == nil || held.holder == b.flight {
		return true
	}
	held.waiting = append(held.waiting, b)
	return false
}

// hold makes f the flight its originator's later messages wait for.
func (l lanes) hold(f *Flight) {
	if l[f.Message.Originator] == nil {
		l[f.Message.Originator] = &lane{holder: f}
	}
}

// release ends f's hold and returns who waited, in order.
func (l lanes) release(f *Flight) []branch {
	held := l[f.Message.Originator]
	if held == nil || held.holder != f {
		return nil
	}
	delete(l, f.Message.Originator)
	return held.waiting
}
