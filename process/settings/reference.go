package settings

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Reference writes the page that documents every setting of g, in Markdown, from the same
// structs that are parsed. The same input gives the same bytes.
func Reference(g Grammar, w io.Writer) error {
	root, err := build(g.Commands, nil)
	if err != nil {
		return fmt.Errorf("settings of %s: %w", g.Name, err)
	}
	page := &strings.Builder{}
	fmt.Fprintf(page, "# Settings of %s\n\n", g.Name)
	page.WriteString("Generated from the settings' structs by `make generate`; a test fails when this page is not what they say.\n")
	fmt.Fprintf(page, "A flag wins over its environment variable, which wins over the default. Any variable with `%s` appended names a file\n", fileSuffix)
	page.WriteString("that holds the value, for secrets. Unknown and bad values stop the start, naming the flag or the variable.\n")
	told := map[string]string{}
	for _, command := range root.leaves() {
		writeCommand(page, g.Name, command, told)
	}
	_, err = io.WriteString(w, page.String())
	return err
}

// writeCommand writes a command's settings. told holds the rows written so far and the command
// they were written for: those are not told again, but referred to.
func writeCommand(page *strings.Builder, program string, command *command, told map[string]string) {
	name := program + " " + command.name
	fmt.Fprintf(page, "\n## %s\n\n%s\n", name, command.help)
	var rows, others []string
	for _, flag := range command.flags {
		row := fmt.Sprintf("| `--%s` | `%s` | %s | %s |\n",
			flag.name, variable(program, flag.name), defaultCell(flag), cell(flag.help))
		if first, known := told[row]; !known {
			told[row] = name
			rows = append(rows, row)
		} else if !slices.Contains(others, first) {
			others = append(others, first)
		}
	}
	if len(rows) > 0 {
		page.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	}
	if len(others) > 0 {
		fmt.Fprintf(page, "\nFurther settings are as of `%s`.\n", strings.Join(others, "` and `"))
	}
}

func defaultCell(flag *setting) string {
	switch {
	case flag.required():
		return "(required)"
	case flag.defaultText != "":
		return "`" + cell(flag.defaultText) + "`"
	case flag.isBool():
		return "`false`"
	default:
		return ""
	}
}

// cell keeps text from ending its table cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}
