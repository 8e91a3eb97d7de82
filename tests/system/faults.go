package system

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is a row of docs/reference/faults.md: something that was done to a fleet under load, and what became of the
// readings that were acknowledged meanwhile.
type Fault struct {
	ID    string // "F1"
	What  string // one line, without "|"
	Times int    // how often it was done

	Sent, Acknowledged, Lost int
	// Duplicates are rows beyond the first of one reading: of readings with a time of their own there may be none, of
	// others as many as were sent again.
	Duplicates, Resent int
	// Gap is the longest time in which no reading at all was acknowledged.
	Gap time.Duration
}

func (f Fault) cells() []string {
	return []string{
		f.ID, f.What, strconv.Itoa(f.Times), strconv.Itoa(f.Sent), strconv.Itoa(f.Acknowledged), strconv.Itoa(f.Lost),
		strconv.Itoa(f.Duplicates), strconv.Itoa(f.Resent), f.Gap.Round(10 * time.Millisecond).String(),
	}
}

const faultsHead = `# What was done to a fleet, and what was lost

Written by ` + "`make test-fleet FULL=1`" + `. Devices of all three protocols send through HAProxy while it happens; a device sends
again what was not acknowledged. Afterwards every acknowledged reading is looked for by REST. Lost is what was
acknowledged and is not there. Duplicates come only from readings without a time of their own that were sent again.
The gap is the longest time in which no device at all got an acknowledgement.

| fault | what | times | sent | acknowledged | lost | duplicates | sent again | gap |
|---|---|---|---|---|---|---|---|---|
`

// Faults collects rows. Safe for concurrent use.
type Faults struct {
	mu   sync.Mutex
	rows map[string][]string // by id
}

// Add takes a row; one with the same id is replaced.
func (f *Faults) Add(row Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows == nil {
		f.rows = map[string][]string{}
	}
	f.rows[row.ID] = row.cells()
}

// Page is the whole page.
func (f *Faults) Page() string { return faultsHead + f.Rows() }

// Rows is the page's rows, in the order of their numbers.
func (f *Faults) Rows() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	number := func(row []string) int {
		n, _ := strconv.Atoi(strings.TrimLeft(row[0], "F")) // one without a number comes first
		return n
	}
	var rows [][]string
	for _, row := range f.rows {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b []string) int { return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a[0], b[0])) })
	var page strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&page, "| %s |\n", strings.Join(row, " | "))
	}
	return page.String()
}

// Write writes the page into dir as faults.md. Rows of the page there that were not added this time are kept, so that
// one fault may be repeated alone. Without any row added nothing is written.
func (f *Faults) Write(dir string) error {
	f.mu.Lock()
	added := len(f.rows)
	f.mu.Unlock()
	if added == 0 {
		return nil
	}
	path := filepath.Join(dir, "faults.md")
	had, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the page of faults: %w", err)
	}
	f.keep(string(had))
	return os.WriteFile(path, []byte(f.Page()), 0o644)
}

func (f *Faults) keep(page string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := bufio.NewScanner(strings.NewReader(page))
	for lines.Scan() {
		row := strings.Split(strings.Trim(lines.Text(), "| "), " | ")
		if len(row) == 9 && strings.HasPrefix(row[0], "F") && f.rows[row[0]] == nil {
			f.rows[row[0]] = row
		}
	}
}
