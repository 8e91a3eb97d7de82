package engine

import (
	"errors"
	"fmt"

	"github.com/dop251/goja"

	"github.com/sluice-iot/sluice/proto/script"
)

// maxFaultChars bounds the text of a script's error.
const maxFaultChars = 2000

// Texts of what is not thrown by the script.
const (
	TextTimeout = "Script execution timed out"
	TextMemory  = "Script needs more memory than it may have"
	TextAway    = "the script got no processor time" // the machine's fault
	textLarge   = "Script result is too large"
	textDeep    = "RangeError: Maximum call stack size exceeded"
)

// fault is err as the caller sees it. It may run the script's code (what was thrown may have getters), and is stopped like the call itself.
func (c *call) fault(err error) *Fault {
	var (
		stopped *goja.InterruptedError
		deep    *goja.StackOverflowError
		thrown  *goja.Exception
	)
	switch {
	case errors.As(err, &stopped):
		return stoppedFault(stopped)
	case errors.As(err, &deep):
		return &Fault{Outcome: script.Runtime, Text: textDeep}
	case errors.Is(err, errLarge):
		return &Fault{Outcome: script.ResultTooLarge, Text: fmt.Sprintf("%s: more than %d characters", textLarge, c.limits.ResultChars)}
	case errors.As(err, &thrown):
		return c.thrown(thrown)
	}
	return &Fault{Outcome: script.Runtime, Text: cut(err.Error())}
}

func stoppedFault(stopped *goja.InterruptedError) *Fault {
	switch why, _ := stopped.Value().(Reason); why {
	case script.Memory:
		return &Fault{Outcome: why, Text: TextMemory}
	case script.Away:
		return &Fault{Outcome: why, Text: TextAway}
	}
	return &Fault{Outcome: script.Timeout, Text: TextTimeout}
}

// thrown describes what a script threw: "name: message" of an object, the text of anything else.
func (c *call) thrown(e *goja.Exception) (f *Fault) {
	f = &Fault{Outcome: script.Runtime}
	object, ok := e.Value().(*goja.Object)
	if !ok {
		f.Text = plain(e.Value())
		return f
	}
	failed := c.try(func() {
		f.Text = cut(property(object, "name") + ": " + property(object, "message"))
	})
	if failed != nil {
		var stopped *goja.InterruptedError
		if errors.As(failed, &stopped) {
			return stoppedFault(stopped)
		}
		f.Text = "the script threw something that cannot be described"
		return f
	}
	if stack := e.Stack(); len(stack) > 0 {
		if f.Line = stack[0].Position().Line; f.Line > 0 {
			f.Text += fmt.Sprintf(" in at line number %d", f.Line)
		}
	}
	return f
}

// try runs what may call the script's code.
func (c *call) try(do func()) (err error) {
	defer func() {
		if what := recover(); what != nil {
			var ok bool
			if err, ok = what.(error); !ok {
				err = fmt.Errorf("%v", what)
			}
		}
	}()
	if thrown := c.r.Try(do); thrown != nil {
		return thrown
	}
	return nil
}

func property(object *goja.Object, name string) string {
	value := object.Get(name)
	if value == nil {
		return "undefined"
	}
	return value.String()
}

// plain is the text of a value that is no object.
func plain(value goja.Value) string {
	if value == nil {
		return "undefined"
	}
	return cut(value.String())
}

// cut bounds a text, at a character's edge.
func cut(text string) string {
	if len(text) <= maxFaultChars {
		return text
	}
	end := maxFaultChars
	for end > 0 && text[end]&0xc0 == 0x80 {
		end--
	}
	return text[:end] + "…"
}
