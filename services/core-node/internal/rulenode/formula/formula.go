// Package formula reads and evaluates arithmetic that tenants write: numbers, named variables, + - * / % ^, parentheses and functions.
package formula

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Formula is arithmetic that was read. Safe for concurrent use.
type Formula struct{ root expression }

// expression is a part of a formula.
type expression func(variables map[string]float64) float64

// MaxLength is how long a formula may be, in bytes; MaxDepth how deep its parentheses.
const (
	MaxLength = 256
	MaxDepth  = 64
)

// Parse reads a formula. Every name that is no function must be one of variables.
func Parse(text string, variables []string) (*Formula, error) {
	if len(text) > MaxLength {
		return nil, fmt.Errorf("more than %d characters", MaxLength)
	}
	p := &parser{text: text, names: map[string]bool{}}
	for _, name := range variables {
		p.names[name] = true
	}
	root, err := p.sum()
	if p.skip(); err == nil && p.at < len(p.text) {
		err = fmt.Errorf("%q is not understood", p.text[p.at:])
	}
	if err != nil {
		return nil, fmt.Errorf("at character %d: %w", p.at, err)
	}
	return &Formula{root}, nil
}

// Value evaluates the formula; it may be infinite or not a number.
func (f *Formula) Value(variables map[string]float64) float64 { return f.root(variables) }

// parser goes through a text once.
type parser struct {
	text  string
	at    int
	depth int
	names map[string]bool
}

func (p *parser) skip() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// next takes c, if it comes next.
func (p *parser) next(c byte) bool {
	p.skip()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > MaxDepth {
		return fmt.Errorf("more than %d levels", MaxDepth)
	}
	return nil
}

func (p *parser) sum() (expression, error) {
	left, err := p.product()
	for err == nil {
		var right expression
		a := left
		switch {
		case p.next('+'):
			right, err = p.product()
			left = func(v map[string]float64) float64 { return a(v) + right(v) }
		case p.next('-'):
			right, err = p.product()
			left = func(v map[string]float64) float64 { return a(v) - right(v) }
		default:
			return left, nil
		}
	}
	return nil, err
}

func (p *parser) product() (expression, error) {
	left, err := p.signed()
	for err == nil {
		var right expression
		a := left
		switch {
		case p.next('*'):
			right, err = p.signed()
			left = func(v map[string]float64) float64 { return a(v) * right(v) }
		case p.next('/'):
			right, err = p.signed()
			left = func(v map[string]float64) float64 { return a(v) / right(v) }
		case p.next('%'):
			right, err = p.signed()
			left = func(v map[string]float64) float64 { return math.Mod(a(v), right(v)) }
		default:
			return left, nil
		}
	}
	return nil, err
}

// signed binds less than ^: -2^2 is -4.
func (p *parser) signed() (expression, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	switch {
	case p.next('-'):
		of, err := p.signed()
		return func(v map[string]float64) float64 { return -of(v) }, err
	case p.next('+'):
		return p.signed()
	}
	return p.power()
}

func (p *parser) power() (expression, error) {
	base, err := p.atom()
	if err != nil || !p.next('^') {
		return base, err
	}
	exponent, err := p.signed() // to the right first
	return func(v map[string]float64) float64 { return math.Pow(base(v), exponent(v)) }, err
}

var errEnd = errors.New("a number, a name or a parenthesis is missing")

func (p *parser) atom() (expression, error) {
	if p.next('(') {
		inner, err := p.sum()
		if err == nil && !p.next(')') {
			err = errors.New("a parenthesis is not closed")
		}
		return inner, err
	}
	p.skip()
	if p.at == len(p.text) {
		return nil, errEnd
	}
	if c := p.text[p.at]; c == '.' || c >= '0' && c <= '9' {
		return p.number()
	}
	name := p.name()
	if name == "" {
		return nil, errEnd
	}
	if p.next('(') {
		return p.call(name)
	}
	if p.names[name] {
		return func(v map[string]float64) float64 { return v[name] }, nil
	}
	switch name {
	case "pi", "π":
		return constant(math.Pi), nil
	case "e":
		return constant(math.E), nil
	}
	return nil, fmt.Errorf("%q is no argument", name)
}

func constant(n float64) expression { return func(map[string]float64) float64 { return n } }

func (p *parser) number() (expression, error) {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		afterExponent := p.at > start && (p.text[p.at-1] == 'e' || p.text[p.at-1] == 'E')
		if c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || afterExponent && (c == '-' || c == '+') {
			p.at++
			continue
		}
		break
	}
	n, err := strconv.ParseFloat(p.text[start:p.at], 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no number", p.text[start:p.at])
	}
	return constant(n), nil
}

func (p *parser) name() string {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c == '_' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || p.at > start && c >= '0' && c <= '9' {
			p.at++
			continue
		}
		break
	}
	return p.text[start:p.at]
}

func (p *parser) call(name string) (expression, error) {
	var args []expression
	for {
		arg, err := p.sum()
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
		if p.next(',') {
			continue
		}
		if !p.next(')') {
			return nil, errors.New("a parenthesis is not closed")
		}
		break
	}
	if of := one(name); of != nil && len(args) == 1 {
		return func(v map[string]float64) float64 { return of(args[0](v)) }, nil
	}
	if of := two(name); of != nil && len(args) == 2 {
		return func(v map[string]float64) float64 { return of(args[0](v), args[1](v)) }, nil
	}
	return nil, fmt.Errorf("there is no function %q of %d arguments", name, len(args))
}

// one returns a function of one argument.
func one(name string) func(float64) float64 {
	return map[string]func(float64) float64{
		"sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "asin": math.Asin, "acos": math.Acos, "atan": math.Atan, "sinh": math.Sinh,
		"cosh": math.Cosh, "tanh": math.Tanh, "exp": math.Exp, "expm1": math.Expm1, "sqrt": math.Sqrt, "cbrt": math.Cbrt, "log": math.Log,
		"log10": math.Log10, "log1p": math.Log1p, "log2": math.Log2, "ceil": math.Ceil, "floor": math.Floor, "abs": math.Abs, "signum": Signum,
		"toradian": Radians, "todegree": Degrees, "rad": Radians, "deg": Degrees,
	}[name]
}

// two returns a function of two arguments.
func two(name string) func(a, b float64) float64 {
	return map[string]func(a, b float64) float64{
		"pow": math.Pow, "hypot": math.Hypot, "atan2": math.Atan2, "min": math.Min, "max": math.Max, "mod": math.Mod,
		"logb": func(base, n float64) float64 { return math.Log(n) / math.Log(base) },
	}[name]
}

// Signum is -1, 0 or 1.
func Signum(n float64) float64 {
	switch {
	case n > 0:
		return 1
	case n < 0:
		return -1
	}
	return n
}

// Radians turns degrees into radians.
func Radians(degrees float64) float64 { return degrees / 180 * math.Pi }

// Degrees turns radians into degrees.
func Degrees(radians float64) float64 { return radians * 180 / math.Pi }
