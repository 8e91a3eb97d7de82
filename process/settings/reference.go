package settings

import (
	"fmt"
	"io"
	"slices"
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
	told := map[string]string{}
	for _, command := range parser.Model.Leaves(true) {
		writeCommand(page, g.Name, command, told)
	}
	_, err = io.WriteString(w, page.String())
	return err
}

// writeCommand writes a command's settings. told holds the rows written so far and the command
// they were written for: those are not told again, but referred to.
func writeCommand(page *strings.Builder, program string, command *kong.Node, told map[string]string) {
	name := program + " " + command.Path()
	fmt.Fprintf(page, "\n## %s\n\n%s\n", name, command.Help)
	var rows, others []string
	for _, group := range command.AllFlags(true) {
		for _, flag := range group {
			if flag.Name == helpFlag {
				continue
			}
			row := fmt.Sprintf("| `--%s` | `%s` | %s | %s |\n",
				flag.Name, variable(program, flag.Name), defaultCell(flag), cell(flag.Help))
			if first, known := told[row]; !known {
				told[row] = name
				rows = append(rows, row)
			} else if !slices.Contains(others, first) {
				others = append(others, first)
			}
		}
	}
	if len(rows) > 0 {
		page.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	}
	if len(others) > 0 {
		fmt.Fprintf(page, "\nFurther settings are as of `%s`.\n", strings.Join(others, "` and `"))
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
