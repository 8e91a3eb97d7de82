package settings

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// tag is what a field's struct tag says.
type tag struct {
	out bool // settings:"-"

	command, embed, argument bool
	required, negatable      bool
	name, help, prefix       string
	placeholder, separator   string
	defaultText              string
	hasDefault               bool
	choices                  string            // as written, separated by commas
	vars                     map[string]string // of set
}

// readTag reads the whole of a struct tag. A key it does not know is an error: it is misspelt.
func readTag(text reflect.StructTag) (tag, error) {
	t := tag{separator: ","}
	rest := string(text)
	for {
		rest = strings.TrimLeft(rest, " ")
		if rest == "" {
			return t, nil
		}
		key, after, found := strings.Cut(rest, ":")
		quoted, err := strconv.QuotedPrefix(after)
		if !found || err != nil {
			return t, fmt.Errorf("the tag `%s` is not made of key:\"value\"", text)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return t, fmt.Errorf("the tag %s: %w", key, err)
		}
		if err := t.add(key, value); err != nil {
			return t, err
		}
		rest = after[len(quoted):]
	}
}

func (t *tag) add(key, value string) error {
	flags := map[string]*bool{
		"cmd": &t.command, "embed": &t.embed, "arg": &t.argument, "required": &t.required, "negatable": &t.negatable,
	}
	texts := map[string]*string{
		"name": &t.name, "help": &t.help, "prefix": &t.prefix, "placeholder": &t.placeholder, "sep": &t.separator,
		"default": &t.defaultText, "enum": &t.choices,
	}
	switch {
	case flags[key] != nil && value == "":
		*flags[key] = true
	case texts[key] != nil && (key != "sep" || value != ""):
		*texts[key] = value
		t.hasDefault = t.hasDefault || key == "default"
	case key == "settings" && value == "-":
		t.out = true
	case key == "set":
		return t.addVars(value)
	default:
		return fmt.Errorf("the tag %s:%q is unknown", key, value)
	}
	return nil
}

func (t *tag) addVars(text string) error {
	t.vars = map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return fmt.Errorf("the tag set: %q is not name=value", pair)
		}
		t.vars[name] = value
	}
	return nil
}

// variableInText is ${name}.
var variableInText = regexp.MustCompile(`\$\{[^}]*\}`)

// interpolate replaces each ${name} in text.
func interpolate(text string, vars map[string]string) (string, error) {
	var err error
	return variableInText.ReplaceAllStringFunc(text, func(match string) string {
		value, known := vars[match[2:len(match)-1]]
		if !known && err == nil {
			err = fmt.Errorf("%s stands for nothing", match)
		}
		return value
	}), err
}

// with returns vars and more, which wins.
func with(vars, more map[string]string) map[string]string {
	both := maps.Clone(vars)
	if both == nil {
		both = map[string]string{}
	}
	maps.Copy(both, more)
	return both
}
