package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
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

// lookup returns the value the environment has for a flag, and the variable that says so: "" for none.
func (e environment) lookup(flag string) (value, from string, err error) {
	name := variable(e.program, flag)
	value, given := e.values[name]
	path, inFile := e.values[name+fileSuffix]
	switch {
	case given && inFile:
		return "", "", fmt.Errorf("both %s and %s are set", name, name+fileSuffix)
	case given:
		return value, name, nil
	case !inFile:
		return "", "", nil
	}
	if value, err = readSecret(path); err != nil {
		return "", "", fmt.Errorf("%s: %w", name+fileSuffix, err)
	}
	return value, name + fileSuffix, nil
}

// check refuses variables that no command knows: a misspelt setting must not pass for its default.
func (e environment) check(root *command) error {
	known := map[string]bool{}
	for _, c := range root.leaves() {
		for _, flag := range c.flags {
			name := variable(e.program, flag.name)
			known[name], known[name+fileSuffix] = true, true
		}
	}
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
