// Package settings reads a program's settings from the tags of structs. A flag
// (--mqtt-listen) wins over the environment (SLUICE_MQTT_LISTEN, or SLUICE_MQTT_LISTEN_FILE
// naming a file that holds the value, for secrets), which wins over the tag's default. Whatever
// is unknown or does not parse is refused by its name.
//
// Every exported field of a struct is a setting, but for those tagged `cmd:""`, which are
// commands and have settings of their own, and those tagged `settings:"-"`. The latter also take
// every field of the same name out of the structs embedded beside them. The tags of a setting:
//
//	name         its flag; by default the field's name, as in max-bytes
//	help         what it means; ${enum} is the choices
//	default      its value when none is given; ${name} is what the tag set of a command says
//	enum         the choices, separated by commas
//	required     a value has to be given
//	negatable    a bool's flag can also be given as --no-name
//	placeholder  what help shows in place of a value
//	sep          what separates the values of a slice; by default a comma
//	arg          it is not a flag, but an argument of the command; a slice takes all that are left
//
// A struct that is embedded, or tagged `embed:""`, adds its fields, with the tag prefix before
// their names. A command has the tags name, help and set (name=value, separated by commas). A
// setting is a string, bool, int, int64, float64, time.Duration or a slice of these. Any other
// tag, and any other type, is an error: they are mistakes of whoever wrote the struct.
//
// No method is looked up by name: that would keep every exported method of the program in its
// binary (docs/decisions/0017-our-own-settings-parser.md).
package settings

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// ErrHelp says that help was asked for and has been written.
var ErrHelp = errors.New("settings: help was asked for")

// Grammar is what a program can be told.
type Grammar struct {
	Name        string // of the program; in capitals the first word of its environment variables
	Description string
	// Commands points to a struct whose fields tagged `cmd:""` are the commands; their fields are
	// the settings. One without commands is itself the only command.
	Commands any
}

// Parse fills g.Commands from args and environ (as os.Environ returns it) and returns a pointer
// to the struct of the command that was named. Help goes to out and is told by ErrHelp.
func Parse(g Grammar, args, environ []string, out io.Writer) (any, error) {
	root, err := build(g.Commands, nil)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", g.Name, err)
	}
	line, err := readLine(root, args)
	if err != nil {
		return nil, err
	}
	if line.help {
		if err := writeHelp(out, g, line.command); err != nil {
			return nil, fmt.Errorf("write help: %w", err)
		}
		return nil, ErrHelp
	}
	selected := line.command
	if len(selected.commands) > 0 {
		return nil, fmt.Errorf("expected one of %s", strings.Join(selected.names(), ", "))
	}
	env := newEnvironment(g.Name, environ)
	if err := env.check(root); err != nil {
		return nil, err
	}
	for _, s := range selected.settings() {
		if err := fill(s, line, env); err != nil {
			return nil, err
		}
	}
	return selected.target.Addr().Interface(), nil
}

// fill gives a setting its value from where it is given first: command line, environment, default.
func fill(s *setting, line commandLine, env environment) error {
	label, texts := s.label(), line.given[s]
	if texts == nil && !s.tag.argument {
		text, from, err := env.lookup(s.name)
		if err != nil {
			return err
		}
		if from != "" {
			label, texts = from+" ("+label+")", []string{text}
		}
	}
	switch {
	case texts != nil:
		if err := s.set(texts); err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
		return nil
	case s.required():
		return fmt.Errorf("%s is missing", label)
	}
	return s.reset()
}

// Defaults fills config, a pointer to a struct of settings, with their defaults. vars fills in
// what defaults refer to as ${name}, as the tag set does for a command.
func Defaults(config any, vars map[string]string) error {
	root, err := build(config, vars)
	if err != nil {
		return fmt.Errorf("default settings: %w", err)
	}
	for _, s := range root.settings() {
		if err := s.reset(); err != nil {
			return fmt.Errorf("default settings: %w", err)
		}
	}
	return nil
}

// build reads the grammar out of the struct that commands points to.
func build(commands any, vars map[string]string) (*command, error) {
	pointer := reflect.ValueOf(commands)
	if pointer.Kind() != reflect.Pointer || pointer.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("%T is not a pointer to a struct", commands)
	}
	return newCommand("", "", pointer.Elem(), vars)
}
