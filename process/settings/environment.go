package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const (
	helpFlag   = "help"
	fileSuffix = "_FILE"
	// maxSecretBytes bounds what is read from a _FILE: a secret, not a disk.
	maxSecretBytes = 64 << 10
)

// environment answers for flags that were not given on the command line.
type environment struct {
	program string
	values  map[string]string
}

// newEnvironment keeps the variables that are addressed to program.
func newEnvironment(program string, environ []string) environment {
	env := environment{program: program, values: map[string]string{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, variable(program, "")) {
			env.values[name] = value
		}
	}
	return env
}

// variable is the environment variable behind a flag.
func variable(program, flag string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(program + "-" + flag))
}

// Resolve returns the value the environment has for flag, or nil. It makes sure that the value
// parses, so that the error names the variable.
func (e environment) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	name := variable(e.program, flag.Name)
	value, given := e.values[name]
	if path, inFile := e.values[name+fileSuffix]; inFile {
		if given {
			return nil, fmt.Errorf("both %s and %s are set", name, name+fileSuffix)
		}
		secret, err := readSecret(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name+fileSuffix, err)
		}
		value, given = secret, true
	}
	if !given {
		return nil, nil
	}
	scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
	scratch := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, scratch); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return value, nil
}

// Validate refuses variables that no command knows: a misspelt setting must not pass for its default.
func (e environment) Validate(app *kong.Application) error {
	known := map[string]bool{}
	eachFlag(app.Node, func(_ *kong.Node, flag *kong.Flag) {
		name := variable(e.program, flag.Name)
		known[name], known[name+fileSuffix] = true, true
	})
	var unknown []string
	for name := range e.values {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("unknown setting in the environment: %s", strings.Join(unknown, ", "))
}

// readSecret reads a file's text without the line break editors leave at its end.
func readSecret(path string) (text string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxSecretBytes {
		return "", fmt.Errorf("%s: larger than %d bytes", path, maxSecretBytes)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// eachFlag calls visit for every flag of every command below node, in the order of declaration.
func eachFlag(node *kong.Node, visit func(*kong.Node, *kong.Flag)) {
	for _, flag := range node.Flags {
		if flag.Name != helpFlag {
			visit(node, flag)
		}
	}
	for _, child := range node.Children {
		eachFlag(child, visit)
	}
}
