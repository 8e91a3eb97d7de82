package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is one field that can be set.
type setting struct {
	tag
	name    string // of its flag, or of the argument
	target  reflect.Value
	element decode // of the value, or of each in a slice
}

// decode reads text into target.
type decode func(target reflect.Value, text string) error

func newSetting(f field, vars map[string]string) (*setting, error) {
	s := &setting{tag: f.tag, name: f.name, target: f.value}
	kind := f.Type
	if s.isSlice() {
		kind = kind.Elem()
	}
	if s.element = decoder(kind); s.element == nil {
		return nil, fmt.Errorf("a setting cannot be a %s", f.Type)
	}
	if s.negatable && !s.isBool() {
		return nil, fmt.Errorf("a %s cannot be negatable", f.Type)
	}
	if s.choices != "" && !s.isSlice() && !s.hasDefault && !s.required() {
		return nil, fmt.Errorf("of its choices none is the default")
	}
	var err error
	if s.defaultText, err = interpolate(s.defaultText, vars); err != nil {
		return nil, fmt.Errorf("its default: %w", err)
	}
	if s.help, err = interpolate(s.help, map[string]string{"enum": s.choices}); err != nil {
		return nil, fmt.Errorf("its help: %w", err)
	}
	probe := *s
	probe.target = reflect.New(f.Type).Elem()
	return s, probe.reset()
}

func (s *setting) isSlice() bool { return s.target.Kind() == reflect.Slice }

func (s *setting) isBool() bool { return s.target.Kind() == reflect.Bool }

func (s *setting) required() bool { return s.tag.required || s.argument && !s.hasDefault }

// forms are what may stand after the dashes of its flag; a second one is the negation.
func (s *setting) forms() []string {
	if s.negatable {
		return []string{s.name, "no-" + s.name}
	}
	return []string{s.name}
}

// label is how it is called on the command line.
func (s *setting) label() string {
	if s.argument {
		return "<" + s.name + ">"
	}
	return "--" + s.name
}

// reset gives it its default.
func (s *setting) reset() error {
	s.target.SetZero()
	if !s.hasDefault {
		return nil
	}
	if err := s.set([]string{s.defaultText}); err != nil {
		return fmt.Errorf("the default of %s: %w", s.label(), err)
	}
	return nil
}

// set reads the texts it was given, in order: the last wins, but a slice takes them all.
func (s *setting) set(texts []string) error {
	if !s.isSlice() {
		for _, text := range texts {
			if err := s.read(s.target, text); err != nil {
				return err
			}
		}
		return nil
	}
	s.target.SetZero()
	for _, text := range texts {
		if text == "" {
			continue
		}
		for part := range strings.SplitSeq(strings.TrimSuffix(text, s.separator), s.separator) {
			element := reflect.New(s.target.Type().Elem()).Elem()
			if err := s.read(element, part); err != nil {
				return err
			}
			s.target.Set(reflect.Append(s.target, element))
		}
	}
	return nil
}

func (s *setting) read(target reflect.Value, text string) error {
	if choices := strings.Split(s.choices, ","); s.choices != "" && !slices.Contains(choices, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(choices, ", "))
	}
	return s.element(target, text)
}

// decoder returns what reads values of a type; nil if nothing does.
func decoder(of reflect.Type) decode {
	switch {
	case of == reflect.TypeFor[time.Duration]():
		return decodeDuration
	case of.Kind() == reflect.String:
		return func(target reflect.Value, text string) error {
			target.SetString(text)
			return nil
		}
	case of.Kind() == reflect.Bool:
		return decodeBool
	case of.Kind() == reflect.Int, of.Kind() == reflect.Int64:
		return decodeInt
	case of.Kind() == reflect.Float64:
		return decodeFloat
	}
	return nil
}

func decodeDuration(target reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a time span such as 1m30s", text)
	}
	target.SetInt(int64(d))
	return nil
}

func decodeBool(target reflect.Value, text string) error {
	switch strings.ToLower(text) {
	case "true", "1", "yes":
		target.SetBool(true)
	case "false", "0", "no":
		target.SetBool(false)
	default:
		return fmt.Errorf("%q is neither true nor false", text)
	}
	return nil
}

func decodeInt(target reflect.Value, text string) error {
	n, err := strconv.ParseInt(text, 0, target.Type().Bits())
	if err != nil {
		return fmt.Errorf("%q is not a whole number of %d bits", text, target.Type().Bits())
	}
	target.SetInt(n)
	return nil
}

func decodeFloat(target reflect.Value, text string) error {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", text)
	}
	target.SetFloat(x)
	return nil
}
