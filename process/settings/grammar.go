package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// command is a struct as the command line sees it: it has either commands or settings.
type command struct {
	name, help string // name is the whole path without the program: "dead-letters list"
	target     reflect.Value
	commands   []*command
	flags      []*setting
	arguments  []*setting
}

// field is one exported field of a struct or of what it embeds.
type field struct {
	reflect.StructField
	value reflect.Value
	tag   tag
	name  string // with the prefixes of what it is embedded in
}

// newCommand reads the struct target. vars is what defaults may refer to.
func newCommand(name, help string, target reflect.Value, vars map[string]string) (*command, error) {
	c := &command{name: name, help: help, target: target}
	fields, err := flatten(target, "")
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if err := c.add(f, vars); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", target.Type(), f.Name, err)
		}
	}
	if len(c.commands) > 0 && len(c.settings()) > 0 {
		return nil, fmt.Errorf("%s has both commands and settings", target.Type())
	}
	return c, nil
}

func (c *command) add(f field, vars map[string]string) error {
	if f.tag.command {
		if f.Type.Kind() != reflect.Struct {
			return fmt.Errorf("a command is a struct, not a %s", f.Type)
		}
		sub, err := newCommand(strings.TrimSpace(c.name+" "+f.name), f.tag.help, f.value, with(vars, f.tag.vars))
		if err != nil {
			return err
		}
		c.commands = append(c.commands, sub)
		return nil
	}
	s, err := newSetting(f, vars)
	if err != nil {
		return err
	}
	if f.tag.argument {
		if n := len(c.arguments); n > 0 && c.arguments[n-1].isSlice() {
			return fmt.Errorf("the argument before it takes all that are left")
		}
		c.arguments = append(c.arguments, s)
		return nil
	}
	for _, form := range s.forms() {
		if other, _ := c.flag(form); other != nil || form == helpFlag {
			return fmt.Errorf("there are two flags --%s", form)
		}
	}
	c.flags = append(c.flags, s)
	return nil
}

// flatten returns the fields of a struct and of all it embeds, without those that are taken out.
func flatten(target reflect.Value, prefix string) ([]field, error) {
	var fields []field
	var out []string
	for i := range target.NumField() {
		f := field{StructField: target.Type().Field(i), value: target.Field(i)}
		var err error
		if f.tag, err = readTag(f.Tag); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", target.Type(), f.Name, err)
		}
		switch {
		case f.tag.out || slices.Contains(out, f.Name):
			out = append(out, f.Name)
		case f.Anonymous || f.tag.embed:
			if f.Type.Kind() != reflect.Struct {
				return nil, fmt.Errorf("%s.%s: a %s cannot be embedded", target.Type(), f.Name, f.Type)
			}
			embedded, err := flatten(f.value, prefix+f.tag.prefix)
			if err != nil {
				return nil, err
			}
			fields = append(fields, embedded...)
		case f.IsExported():
			if f.name = f.tag.name; f.name == "" {
				f.name = dashed(f.Name)
			}
			f.name = prefix + f.tag.prefix + f.name
			fields = append(fields, f)
		}
	}
	return slices.DeleteFunc(fields, func(f field) bool { return slices.Contains(out, f.Name) }), nil
}

// dashed is a field's name as words: max-bytes for MaxBytes, http-listen for HTTPListen.
func dashed(name string) string {
	runes := []rune(name)
	words := &strings.Builder{}
	for i, r := range runes {
		begins := unicode.IsUpper(r) && i > 0 &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins {
			words.WriteByte('-')
		}
		words.WriteRune(unicode.ToLower(r))
	}
	return words.String()
}

// settings are all of a command's own.
func (c *command) settings() []*setting { return slices.Concat(c.flags, c.arguments) }

// flag returns the flag that is given as --form, and whether that is its negation; nil if none is.
func (c *command) flag(form string) (found *setting, negated bool) {
	for _, s := range c.flags {
		if i := slices.Index(s.forms(), form); i >= 0 {
			return s, i > 0
		}
	}
	return nil, false
}

// word is what names the command among its siblings.
func (c *command) word() string { return c.name[strings.LastIndex(c.name, " ")+1:] }

// names are the words that may follow.
func (c *command) names() []string {
	var names []string
	for _, sub := range c.commands {
		names = append(names, sub.word())
	}
	return names
}

// leaves are the commands at or below c that do something, in the order of declaration.
func (c *command) leaves() []*command {
	if len(c.commands) == 0 {
		return []*command{c}
	}
	var all []*command
	for _, sub := range c.commands {
		all = append(all, sub.leaves()...)
	}
	return all
}
