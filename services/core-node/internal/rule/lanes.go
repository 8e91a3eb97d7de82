package rule

import (
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
)

// lane keeps an originator's messages in order while one of its flights has to wait. Its flights stand in line in the order they
// were started; only the first may have effects. Those behind it may run ahead through pure nodes, so that a device's
// messages need not wait for one another's scripts, and stop before the first node that is not pure.
type lane struct {
	line []*Flight
}

type lanes map[ident.EntityID]*lane

// join puts f, which starts, behind its originator's flights if there is a line.
func (l lanes) join(f *Flight) {
	if len(l) == 0 || f.inLine {
		return
	}
	if held := l[f.Message.Originator]; held != nil {
		held.line = append(held.line, f)
		f.inLine = true
	}
}

// hold has its originator's later messages stand behind f.
func (l lanes) hold(f *Flight) {
	if f.inLine {
		return
	}
	held := l[f.Message.Originator]
	if held == nil {
		held = &lane{}
		l[f.Message.Originator] = held
	}
	held.line = append(held.line, f)
	f.inLine = true
}

// admit reports whether b may run now; if not, it waits until its flight is the first in line.
func (l lanes) admit(b branch) bool {
	if len(l) == 0 || b.step().kind.Pure {
		return true
	}
	held := l[b.flight.Message.Originator]
	if held == nil || held.line[0] == b.flight {
		return true
	}
	l.hold(b.flight)
	b.flight.held = append(b.flight.held, b)
	return false
}

// park has b wait for its turn if it runs ahead of it.
func (l lanes) park(b branch) bool {
	if !b.flight.inLine || l[b.flight.Message.Originator].line[0] == b.flight {
		return false
	}
	b.flight.executions--
	b.executions--
	b.flight.held = append(b.flight.held, b)
	return true
}

// release takes f out of line, and returns what the one that is first now was waiting with.
func (l lanes) release(f *Flight) []branch {
	if !f.inLine {
		return nil
	}
	f.inLine = false
	held := l[f.Message.Originator]
	at := slices.Index(held.line, f)
	held.line = slices.Delete(held.line, at, at+1)
	if len(held.line) == 0 {
		delete(l, f.Message.Originator)
		return nil
	}
	if at > 0 {
		return nil
	}
	first := held.line[0]
	waited := first.held
	first.held = nil
	return waited
}
