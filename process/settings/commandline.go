package settings

import (
	"fmt"
	"strings"
)

const helpFlag = "help"

// commandLine is what the arguments of a program say.
type commandLine struct {
	command *command // as far down as it was named
	help    bool     // asked for, of command
	given   map[*setting][]string
}

// readLine reads args: the words of a command, then its flags and arguments in any order. After
// "--" nothing is a flag. It ends where help is asked for.
func readLine(root *command, args []string) (commandLine, error) {
	line := commandLine{command: root, given: map[*setting][]string{}}
	onlyWords := false
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case onlyWords || arg == "-" || !strings.HasPrefix(arg, "-"):
			err = line.word(arg)
		case arg == "--":
			onlyWords = true
		case arg == "-h" || arg == "--"+helpFlag:
			line.help = true
			return line, nil
		default:
			args, err = line.flag(arg, args)
		}
		if err != nil {
			return line, err
		}
	}
	return line, nil
}

// word takes what is no flag: the name of a command, or an argument.
func (l *commandLine) word(word string) error {
	if len(l.command.commands) > 0 {
		for _, sub := range l.command.commands {
			if sub.word() == word {
				l.command = sub
				return nil
			}
		}
		return fmt.Errorf("unknown command %q, expected one of %s", word, strings.Join(l.command.names(), ", "))
	}
	for _, s := range l.command.arguments {
		if len(l.given[s]) == 0 || s.isSlice() {
			l.given[s] = append(l.given[s], word)
			return nil
		}
	}
	return fmt.Errorf("unexpected argument %q", word)
}

// flag takes a flag, whose value may be the first of rest, and returns what is left of rest.
func (l *commandLine) flag(arg string, rest []string) ([]string, error) {
	form, value, hasValue := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	s, negated := l.command.flag(form)
	switch {
	case s == nil || !strings.HasPrefix(arg, "--"):
		name, _, _ := strings.Cut(arg, "=")
		return nil, fmt.Errorf("unknown flag %s", name)
	case negated && hasValue:
		return nil, fmt.Errorf("--%s takes no value", form)
	case negated:
		value = "false"
	case s.isBool() && !hasValue:
		value = "true"
	case !hasValue && (len(rest) == 0 || strings.HasPrefix(rest[0], "--")):
		return nil, fmt.Errorf("--%s needs a value, as in --%s=%s", form, form, s.shown())
	case !hasValue:
		value, rest = rest[0], rest[1:]
	}
	l.given[s] = append(l.given[s], value)
	return rest, nil
}
