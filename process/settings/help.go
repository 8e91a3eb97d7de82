package settings

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// writeHelp says what a command does and what it can be told.
func writeHelp(out io.Writer, g Grammar, c *command) error {
	page := &strings.Builder{}
	path := strings.TrimSpace(g.Name + " " + c.name)
	page.WriteString("Usage: " + path)
	if len(c.commands) > 0 {
		page.WriteString(" <command>")
	}
	for _, s := range c.arguments {
		page.WriteString(" " + s.label())
		if s.isSlice() {
			page.WriteString(" …")
		}
	}
	page.WriteString(" [flags]\n")
	about := c.help
	if c.name == "" {
		about = g.Description
	}
	if about != "" {
		page.WriteString("\n" + about + "\n")
	}
	if len(c.arguments) > 0 {
		page.WriteString("\nArguments:\n")
		for _, s := range c.arguments {
			fmt.Fprintf(page, "  %s\n        %s\n", s.label(), s.help)
		}
	}
	page.WriteString("\nFlags:\n  -h, --help\n        Show this.\n")
	for _, s := range c.flags {
		fmt.Fprintf(page, "  %s ($%s)\n        %s\n", s.usage(), variable(g.Name, s.name), s.help)
	}
	if len(c.commands) > 0 {
		writeCommands(page, path, c)
	}
	_, err := io.WriteString(out, page.String())
	return err
}

func writeCommands(page *strings.Builder, path string, c *command) {
	page.WriteString("\nCommands:\n")
	table := tabwriter.NewWriter(page, 0, 0, 3, ' ', 0)
	for _, sub := range c.commands {
		fmt.Fprintf(table, "  %s\t%s\n", sub.word(), sub.help)
	}
	_ = table.Flush() // a strings.Builder takes everything
	fmt.Fprintf(page, "\n\"%s <command> --help\" says more of a command.\n", path)
}

// usage is the flag with its default, or with what stands for a value.
func (s *setting) usage() string {
	switch {
	case s.negatable:
		return "--[no-]" + s.name + "=" + s.shown()
	case s.isBool():
		return "--" + s.name
	default:
		return "--" + s.name + "=" + s.shown()
	}
}

// shown is the default, or what stands for a value.
func (s *setting) shown() string {
	switch {
	case s.defaultText != "":
		return s.defaultText
	case s.placeholder != "":
		return s.placeholder
	}
	if _, span := s.target.Interface().(time.Duration); span {
		return "DURATION"
	}
	return strings.ToUpper(s.target.Kind().String())
}
