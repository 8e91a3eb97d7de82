// Package settings reads a program's settings from structs with kong tags. A flag
// (--mqtt-listen) wins over the environment (SLUICE_MQTT_LISTEN, or SLUICE_MQTT_LISTEN_FILE
// naming a file that holds the value, for secrets), which wins over the tag's default. Whatever
// is unknown or does not parse is refused by its name.
package settings

import (
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// ErrHelp says that help was asked for and has been written.
var ErrHelp = errors.New("settings: help was asked for")

// Grammar is what a program can be told.
type Grammar struct {
	Name        string // of the program; in capitals the first word of its environment variables
	Description string
	// Commands points to a struct whose fields tagged `cmd:""` are the commands; their fields are
	// the settings.
	Commands any
}

// Parse fills g.Commands from args and environ (as os.Environ returns it) and returns a pointer
// to the struct of the command that was named. Help goes to out and is told by ErrHelp.
func Parse(g Grammar, args, environ []string, out io.Writer) (any, error) {
	env := newEnvironment(g.Name, environ)
	parser, err := build(g, kong.Resolvers(env), kong.Writers(out, out))
	if err != nil {
		return nil, err
	}
	helped := false
	parser.Exit = func(int) { helped = true }
	parsed, err := parser.Parse(args)
	switch {
	case helped:
		return nil, ErrHelp
	case err != nil:
		return nil, err
	}
	return parsed.Selected().Target.Addr().Interface(), nil
}

// build makes the parser and gives every flag the name of its environment variable.
func build(g Grammar, more ...kong.Option) (*kong.Kong, error) {
	options := append([]kong.Option{
		kong.Name(g.Name),
		kong.Description(g.Description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ValueFormatter(func(v *kong.Value) string { return helpText(g.Name, v) }),
	}, more...)
	parser, err := kong.New(g.Commands, options...)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", g.Name, err)
	}
	return parser, nil
}

func helpText(program string, v *kong.Value) string {
	if v.Flag == nil || v.Name == helpFlag {
		return v.Help
	}
	return fmt.Sprintf("%s ($%s)", v.Help, variable(program, v.Name))
}

// Defaults fills config, a pointer to a struct of settings, with their defaults. vars fills in
// what defaults refer to as ${name}, as the tag set does for a command.
func Defaults(config any, vars map[string]string) error {
	if err := kong.ApplyDefaults(config, kong.Vars(vars)); err != nil {
		return fmt.Errorf("default settings: %w", err)
	}
	return nil
}
