package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Notes say by hand what limits each row: a section "## <row>" each.
var (
	//go:embed notes.md
	standaloneNotes string
	//go:embed notes-fleet.md
	fleetNotes string
)

// page is what a run writes.
type page struct {
	path, head, notes string
	command           string   // that measures rows, named behind it
	order             []string // of the rows
}

// page is that of what the run measures.
func (b *bench) page() page {
	if b.options.Fleet {
		return page{"docs/reference/performance-fleet.md", fleetHead, fleetNotes, "go run ./tests/bench --fleet --rows", fleetOrder()}
	}
	return page{"docs/reference/performance.md", standaloneHead, standaloneNotes, "go run ./tests/bench --rows", standaloneOrder()}
}

// The page keeps each row between two markers, so that a run of some rows leaves the others as they were.
const (
	rowBegin = "<!-- row %s -->\n"
	rowEnd   = "<!-- end of row %s -->\n"
)

const standaloneHead = `# Performance

What Sluice does on one machine, side by side with what it stands on and what it stands against.
Written by ` + "`make bench`" + ` (` + "`go run ./tests/bench`" + `); the sentences on what limits a row are kept by hand in
` + "`tests/bench/notes.md`" + `. The sides of a row run in turns, each time in processes and folders of their own;
the load generator (` + "`tests/load`" + `) runs on the same processors. Values are medians, with every single one behind them.

`

const fleetHead = `# Performance of a fleet

What a process per role does on one machine with real Kafka, ZooKeeper, Cassandra and Redis beside, side by side with
what it stands on and what it stands against. Written by ` + "`make bench-fleet`" + ` (` + "`go run ./tests/bench --fleet`" + `); the
sentences on what limits a row are kept by hand in ` + "`tests/bench/notes-fleet.md`" + `. The servers are started once
(` + "`tests/parts`" + `: one Kafka broker, 24 partitions, replication 1); the sides of a row run in turns, each time in processes and
topics of their own. Servers, fleet and load generator share the processors, so ratios say more than figures.
Values are medians, with every single one behind them.

`

// write puts the measured rows on the page; rows that were not measured keep what it has.
func (p page) write(m machine, measured []outcome) error {
	text, err := os.ReadFile(p.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	had := string(text)
	if !strings.HasPrefix(had, "# Performance") {
		had = ""
	}
	var out strings.Builder
	out.WriteString(p.head)
	written := map[string]string{}
	for _, o := range measured {
		written[o.id] = p.section(m, o)
	}
	for _, id := range p.order {
		text, ok := written[id]
		if !ok {
			text, ok = between(had, fmt.Sprintf(rowBegin, id), fmt.Sprintf(rowEnd, id))
		}
		if ok {
			fmt.Fprintf(&out, rowBegin+"%s"+rowEnd+"\n", id, text, id)
		}
	}
	return os.WriteFile(p.path, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644)
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

func (p page) section(m machine, o outcome) string {
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
	if note, ok := between(p.notes+"\n## ", "## "+o.id+"\n", "\n## "); ok {
		fmt.Fprintf(&s, "%s\n\n", strings.TrimSpace(note))
	}
	fmt.Fprintf(&s, "Commit %s, %s; %d × %s, %s. `%s %s`\n", m.commit, m.date, m.cores, m.cpu, m.kernel, p.command, o.id[:1])
	return s.String()
}
