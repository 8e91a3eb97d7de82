package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// theFaults are the rows of this process's run.
var theFaults Faults

// full says that faults are to be done at full length and that their page is to be written.
func full() bool { return os.Getenv("FULL") == "1" }

// faultOf is the row of a fault after which the ledger gave this verdict.
func faultOf(id, what string, times int, v ledger.Verdict, gap time.Duration) Fault {
	return Fault{
		ID: id, What: what, Times: times, Sent: v.Sent, Acknowledged: v.Acknowledged, Lost: len(v.Lost),
		Duplicates: v.Duplicates, Resent: v.Resent, Gap: gap,
	}
}

// writeFaults writes the page, where it is asked for, into the workspace's docs.
func writeFaults() error {
	if !full() {
		return nil
	}
	return theFaults.Write(filepath.Join("..", "..", "docs", "reference"))
}

func TestPageOfFaults(t *testing.T) {
	dir := t.TempDir()
	var none Faults
	if err := none.Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "faults.md")); err == nil {
		t.Error("a page was written without any row")
	}
	write := func(rows ...Fault) string {
		var f Faults
		for _, row := range rows {
			f.Add(row)
		}
		if err := f.Write(dir); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "faults.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write(Fault{ID: "F10", What: "disk full", Times: 2, Gap: 1234567 * time.Microsecond}, Fault{ID: "F2", What: "old"})
	page := write(Fault{ID: "F2", What: "broker killed", Times: 1, Sent: 7, Acknowledged: 6, Lost: 0, Duplicates: 1, Resent: 2, Gap: 90 * time.Millisecond})
	want := "| F2 | broker killed | 1 | 7 | 6 | 0 | 1 | 2 | 90ms |\n| F10 | disk full | 2 | 0 | 0 | 0 | 0 | 0 | 1.23s |\n"
	if _, rows, _ := strings.Cut(page, "|---|---|---|---|---|---|---|---|---|\n"); rows != want {
		t.Errorf("rows:\n%swant:\n%s", rows, want)
	}
	if again := write(Fault{ID: "F2", What: "broker killed", Times: 1, Sent: 7, Acknowledged: 6, Duplicates: 1, Resent: 2, Gap: 90 * time.Millisecond}); again != page {
		t.Error("the same rows make another page")
	}
}
