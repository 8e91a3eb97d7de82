package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// shown is a test that shows a case.
type shown struct{ folder, test string }

// results are the tests of each case, and whether they passed.
type results map[id]map[shown]bool

// named finds the id of a case in one part of a test's name.
var named = regexp.MustCompile(`^(?:Test)?([ABCEQMGHV][0-9]+)(?:_|[A-Z]|$)`)

// caseOf returns the case that a test's whole name, subtests behind slashes, is of; "" if none.
func caseOf(test string) string {
	for part := range strings.SplitSeq(test, "/") {
		if m := named.FindStringSubmatch(part); m != nil {
			return m[1]
		}
	}
	return ""
}

// read adds the tests that `go test -json` tells of. A test counts by its outermost part that names the case.
func (r results) read(out io.Reader, module string) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ Action, Package, Test string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("read go test's output: %w: %s", err, lines.Bytes())
		}
		name := caseOf(event.Test)
		if name == "" || event.Action != "pass" && event.Action != "fail" {
			continue
		}
		parts := strings.Split(event.Test, "/")
		at := slices.IndexFunc(parts, func(part string) bool { return named.MatchString(part) })
		one := shown{strings.TrimPrefix(event.Package, module), strings.Join(parts[:at+1], "/")}
		id := idIn(one.folder, name)
		if r[id] == nil {
			r[id] = map[shown]bool{}
		}
		passed, known := r[id][one]
		r[id][one] = event.Action == "pass" && (passed || !known)
	}
	return lines.Err()
}

const head = `# Acceptance cases, and the tests that show them

Written by ` + "`make conformance`" + `, which runs the tests. The cases are those of the reference platform's rule engine as exported chains
and scripts rely on it, and of its device API as firmware does; a test's name begins with the case's id. The standard run checks that the
tests named here are there. Those in ` + "`tests/system`" + ` look at Sluice from outside; the result is the single process's, and ` + "`make test-fleet`" + `
runs the same on the fleet.
`

// page is the whole page.
func (r results) page() string {
	var page bytes.Buffer
	page.WriteString(head)
	for _, s := range all {
		fmt.Fprintf(&page, "\n## %s\n\n| case | shown by | result |\n|---|---|---|\n", s.about)
		for _, id := range s.ids() {
			tests := slices.SortedFunc(maps.Keys(r[id]), func(a, b shown) int {
				return strings.Compare(a.folder+a.test, b.folder+b.test)
			})
			if len(tests) == 0 {
				reason := leftOut[id]
				if reason == "" {
					reason = "no test yet"
				}
				fmt.Fprintf(&page, "| %s | – | left out: %s |\n", id.name, reason)
			}
			for _, t := range tests {
				result := "pass"
				if !r[id][t] {
					result = "FAIL"
				}
				fmt.Fprintf(&page, "| %s | `%s` in `%s` | %s |\n", id.name, t.test, t.folder, result)
			}
		}
	}
	return page.String()
}
