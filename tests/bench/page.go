package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// notes says by hand what limits each row: a section "## <row>" each.
//
//go:embed notes.md
var notes string

// The page keeps each row between two markers, so that a run of some rows leaves the others as they were.
const (
	rowBegin = "<!-- row %s -->\n"
	rowEnd   = "<!-- end of row %s -->\n"
)

const pageHead = `# Performance

What Sluice does on one machine, side by side with what it stands on and what it stands against.
Written by ` + "`make bench`" + ` (` + "`go run ./tests/bench`" + `); the sentences on what limits a row are kept by hand in
` + "`tests/bench/notes.md`" + `. The sides of a row run in turns, each time in processes and folders of their own;
the load generator (` + "`tests/load`" + `) runs on the same processors. Values are medians, with every single one behind them.

`

// writePage puts the measured rows on the page at path.
func writePage(path string, m machine, measured []outcome) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	page := string(text)
	if !strings.HasPrefix(page, "# Performance") {
		page = ""
	}
	var out strings.Builder
	out.WriteString(pageHead)
	written := map[string]string{}
	for _, o := range measured {
		written[o.id] = section(m, o)
	}
	for _, id := range rowOrder {
		text, ok := written[id]
		if !ok {
			text, ok = between(page, fmt.Sprintf(rowBegin, id), fmt.Sprintf(rowEnd, id))
		}
		if ok {
			fmt.Fprintf(&out, rowBegin+"%s"+rowEnd+"\n", id, text, id)
		}
	}
	return os.WriteFile(path, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644)
}

// between returns what stands between two markers.
func between(text, begin, end string) (string, bool) {
	_, rest, found := strings.Cut(text, begin)
	if !found {
		return "", false
	}
	inside, _, ended := strings.Cut(rest, end)
	return inside, ended
}

func section(m machine, o outcome) string {
	var s strings.Builder
	fmt.Fprintf(&s, "## %s) %s\n\n", o.id, o.title)
	fmt.Fprintf(&s, "| | %s, median | every value |\n|---|---|---|\n", o.unit)
	for i, side := range o.sides {
		fmt.Fprintf(&s, "| %s | %s | %s |\n", side.name, number(o.median(i)), o.raw(i))
	}
	s.WriteString("\n")
	if verdicts := o.verdicts(); len(verdicts) > 0 {
		s.WriteString("| ours | floor | aim | |\n|---|---|---|---|\n")
		for _, v := range verdicts {
			what, floor, aim := o.requirement(v)
			fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", what, floor, aim, v)
		}
		s.WriteString("\n")
	}
	if note, ok := between(notes+"\n## ", "## "+o.id+"\n", "\n## "); ok {
		fmt.Fprintf(&s, "%s\n\n", strings.TrimSpace(note))
	}
	fmt.Fprintf(&s, "Commit %s, %s; %d × %s, %s. `go run ./tests/bench --rows %s`\n", m.commit, m.date, m.cores, m.cpu, m.kernel, o.id[:1])
	return s.String()
}
