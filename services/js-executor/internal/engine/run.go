package engine

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"

	"github.com/sluice-iot/sluice/proto/script"
)

// Limits bound a call.
type Limits struct {
	// ResultChars is how long a result may be, in UTF-16 code units, as JSON.
	ResultChars int
	// Depth is how deep calls may nest.
	Depth int
}

// Engine runs calls one after the other. Stop alone may be called from other goroutines.
type Engine struct {
	limits Limits

	mu      sync.Mutex
	current *goja.Runtime // of the call that runs
	number  uint64        // of calls so far
}

// New returns an engine.
func New(limits Limits) *Engine { return &Engine{limits: limits} }

// Reason is why a call is stopped; it is the call's outcome.
type Reason = script.Outcome

// Current returns the number of the call that runs; 0: none does.
func (e *Engine) Current() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return 0
	}
	return e.number
}

// Stop ends the call of this number, if it still runs and the engine gets to look.
func (e *Engine) Stop(number uint64, why Reason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil && e.number == number {
		e.current.Interrupt(why)
	}
}

// Run calls the program's function: the first two of args are JSON, the others are texts. The result is JSON; undefined says that there is none.
// Nothing that the call did is there at the next one.
func (e *Engine) Run(p *Program, args []string) (result string, undefined bool, fault *Fault) {
	r := goja.New()
	r.SetMaxCallStackSize(e.limits.Depth)
	r.SetParserOptions(parser.WithDisableSourceMaps)
	e.enter(r)
	defer e.enter(nil)
	c := call{r: r, limits: e.limits}
	result, undefined, err := c.run(p, args)
	if err != nil {
		return "", false, c.fault(err)
	}
	return result, undefined, nil
}

func (e *Engine) enter(r *goja.Runtime) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current = r; r != nil {
		e.number++
	}
}

// call is one call in its own runtime.
type call struct {
	r      *goja.Runtime
	limits Limits
}

var (
	errLarge  = errors.New("result too large")
	errEngine = errors.New("the engine lacks a function")
)

// jsonArgs is how many of the first arguments are JSON.
const jsonArgs = 2

func (c *call) run(p *Program, args []string) (result string, undefined bool, err error) {
	defer func() {
		if what := recover(); what != nil { // a fault of the engine ends this call only
			err = fmt.Errorf("the engine failed: %v", what)
		}
	}()
	values := make([]goja.Value, len(args))
	for i, a := range args {
		if i >= jsonArgs {
			values[i] = c.r.ToValue(a)
		} else if values[i], err = parseJSON(c.r, a); err != nil {
			return "", false, err
		}
	}
	if p.console {
		if err := c.console(); err != nil {
			return "", false, err
		}
	}
	made, err := c.r.RunProgram(p.compiled)
	if err != nil {
		return "", false, err
	}
	function, ok := goja.AssertFunction(made)
	if !ok {
		return "", false, errEngine
	}
	returned, err := function(goja.Undefined(), values...)
	if err != nil {
		return "", false, err
	}
	return c.write(returned)
}

// written begins what write has the engine write.
const written = `{"":`

// write returns a value as JSON.stringify does, whatever the script made of that.
func (c *call) write(value goja.Value) (text string, undefined bool, err error) {
	if kind := value.ExportType(); kind != nil && kind.Kind() == reflect.Bool {
		if _, object := value.(*goja.Object); !object { // most filters
			return strconv.FormatBool(value.ToBoolean()), false, nil
		}
	}
	if text, ok := value.(goja.String); ok && text.Length() > c.limits.ResultChars {
		return "", false, errLarge
	}
	// Only an object can be had written without JSON.stringify, which takes long to make. This one has no prototype, which the script may have
	// changed, and lacks its only key when the value has no JSON.
	holder := c.r.CreateObject(nil)
	if err := holder.Set("", value); err != nil {
		return "", false, err
	}
	var b []byte
	failed := c.try(func() { b, err = holder.MarshalJSON() })
	if err := errors.Join(failed, err); err != nil {
		return "", false, err
	}
	if len(b) <= len(written) {
		return "", true, nil
	}
	if b = b[len(written) : len(b)-1]; len(b) > c.limits.ResultChars && units(b) > c.limits.ResultChars {
		return "", false, errLarge
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), false, nil // nobody else has it
}

// units is the length of a text in UTF-16 code units.
func units(text []byte) (count int) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		count += utf16.RuneLen(r)
		text = text[size:]
	}
	return count
}

// console gives the script a console that goes nowhere.
func (c *call) console() error {
	console := c.r.NewObject()
	silent := func(goja.FunctionCall) goja.Value { return goja.Undefined() }
	for _, name := range []string{"log", "debug", "info", "warn", "error", "trace", "assert", "dir", "table", "time", "timeEnd", "group", "groupEnd", "count"} {
		if err := console.Set(name, silent); err != nil {
			return err
		}
	}
	return c.r.GlobalObject().DefineDataProperty("console", console, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}
