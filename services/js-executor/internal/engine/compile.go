// Package engine runs one script at a time in a JavaScript engine that belongs to that call alone. It bounds what
// the engine can bound; what it cannot (natives that no interruption reaches) is for whoever watches the process.
package engine

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"

	"github.com/sluice-iot/sluice/proto/script"
)

// Fault is why a call has no result. It is the script's own.
type Fault struct {
	Outcome script.Outcome
	Text    string
	Line    int // in the body, from 1; 0: not known
}

// Program is a compiled body. It is read only: any number of calls may share it.
type Program struct {
	compiled *goja.Program
	// console says that the body may ask for the console.
	console bool
}

// maxParameters bounds a function's parameters.
const maxParameters = 16

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// Compile makes a function of body. The body has to be the inside of exactly one function: one that closes the function's brace and
// goes on behind it is refused.
func Compile(parameters []string, body string) (*Program, *Fault) {
	if len(parameters) > maxParameters {
		return nil, &Fault{Outcome: script.Compilation, Text: "SyntaxError: too many parameters"}
	}
	for _, p := range parameters {
		if !identifier.MatchString(p) {
			return nil, &Fault{Outcome: script.Compilation, Text: fmt.Sprintf("SyntaxError: %q is no name of a parameter", p)}
		}
	}
	// The body begins on the first line, so that its lines are counted as its author counts them. It ends with one: its last may be a comment.
	const open, end = "){", "\n})"
	head := "(function(" + strings.Join(parameters, ",") + open
	text := head + body + end
	parsed, err := parser.ParseFile(nil, "", text, 0, parser.WithDisableSourceMaps) // a source map would be read from a file
	if err != nil {
		return nil, refused(err)
	}
	if !oneFunction(parsed, len(head), len(text)) {
		return nil, &Fault{Outcome: script.Compilation, Text: "SyntaxError: the script is not the body of one function: its braces do not match"}
	}
	compiled, err := goja.CompileAST(parsed, false)
	if err != nil {
		return nil, refused(err)
	}
	return &Program{compiled: compiled, console: mayUseConsole(body)}, nil
}

// oneFunction reports whether the program is one function expression whose body is all between the braces written around it.
func oneFunction(parsed *ast.Program, head, size int) bool {
	if len(parsed.Body) != 1 {
		return false
	}
	statement, ok := parsed.Body[0].(*ast.ExpressionStatement)
	if !ok {
		return false
	}
	function, ok := statement.Expression.(*ast.FunctionLiteral)
	if !ok || function.Body == nil {
		return false
	}
	const base = 1 // positions count from 1
	return function.Function == file.Idx(base+1) &&
		function.Body.LeftBrace == file.Idx(base+head-1) && function.Body.RightBrace == file.Idx(base+size-len("})"))
}

// mayUseConsole reports whether body could name the console, so that most calls need not make one.
func mayUseConsole(body string) bool {
	for _, way := range []string{"console", "eval", "unction", "this", `\`} {
		if strings.Contains(body, way) {
			return true
		}
	}
	return false
}

// refused is a parser's or compiler's error.
func refused(err error) *Fault {
	f := &Fault{Outcome: script.Compilation, Text: err.Error()}
	var (
		list    parser.ErrorList
		compile *goja.CompilerSyntaxError
	)
	switch {
	case errors.As(err, &list) && len(list) > 0:
		f.Line, f.Text = list[0].Position.Line, list[0].Message
	case errors.As(err, &compile):
		f.Line, f.Text = compile.File.Position(compile.Offset).Line, compile.Message
	}
	const name = "SyntaxError: "
	if f.Text = name + strings.TrimPrefix(f.Text, name); f.Line > 0 {
		f.Text += fmt.Sprintf(" in at line number %d", f.Line)
	}
	return f
}
