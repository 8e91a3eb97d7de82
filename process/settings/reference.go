package settings

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Reference writes the page that documents every setting of g, in Markdown, from the same
// structs that are parsed. The same input gives the same bytes.
func Reference(g Grammar, w io.Writer) error {
	parser, err := build(g)
	if err != nil {
		return err
	}
	page := &strings.Builder{}
	fmt.Fprintf(page, "# Settings of %s\n\n", g.Name)
	page.WriteString("Generated from the settings' structs by `make generate`; a test fails when this page is not what they say.\n")
	fmt.Fprintf(page, "A flag wins over its environment variable, which wins over the default. Any variable with `%s` appended names a file\n", fileSuffix)
	page.WriteString("that holds the value, for secrets. Unknown and bad values stop the start, naming the flag or the variable.\n")
	for _, command := range parser.Model.Leaves(true) {
		writeCommand(page, g.Name, command)
	}
	_, err = io.WriteString(w, page.String())
	return err
}

func writeCommand(page *strings.Builder, program string, command *kong.Node) {
	fmt.Fprintf(page, "\n## %s %s\n\n%s\n", program, command.Path(), command.Help)
	var flags []*kong.Flag
	for _, group := range command.AllFlags(true) {
		for _, flag := range group {
			if flag.Name != helpFlag {
				flags = append(flags, flag)
			}
		}
	}
	if len(flags) == 0 {
		return
	}
	page.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
	for _, flag := range flags {
		fmt.Fprintf(page, "| `--%s` | `%s` | %s | %s |\n",
			flag.Name, variable(program, flag.Name), defaultCell(flag), cell(flag.Help))
	}
}

func defaultCell(flag *kong.Flag) string {
	switch {
	case flag.Required:
		return "(required)"
	case flag.Default != "":
		return "`" + cell(flag.Default) + "`"
	case flag.IsBool():
		return "`false`"
	default:
		return ""
	}
}

// cell keeps text from ending its table cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
