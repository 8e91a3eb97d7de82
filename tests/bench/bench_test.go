package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 0.305: "0.30", 9.5: "9.50", 42: "42.0", 999: "999.0", 1000: "1,000", 1234567.6: "1,234,568"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

func outcomeOf(id string, less bool, floor, aim float64, ours, theirs []float64) outcome {
	return outcome{
		row: row{
			id: id, title: "Title of " + id, unit: "messages/s", less: less, sides: []side{{name: "ours"}, {name: "peer"}},
			floors: map[string]float64{"peer": floor}, aims: map[string]float64{"peer": aim},
		},
		values: [][]float64{ours, theirs},
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		ours  float64
		less  bool
		value float64
		want  string
	}{
		{20, false, 0.2, "below the floor"},
		{30, false, 0.3, "above the floor"},
		{50, false, 0.5, "reaches the aim"},
		{20, true, 0.2, "reaches the aim"},
	} {
		floor, aim := 0.3, 0.5
		if c.less {
			floor, aim = 0.5, 0.3
		}
		got := outcomeOf("a1", c.less, floor, aim, []float64{c.ours}, []float64{100, 50, 400}).verdicts()
		if len(got) != 1 || got[0].value != c.value || got[0].String() != c.want {
			t.Errorf("%v: %+v, %s", c, got, got)
		}
	}
	if got := outcomeOf("a1", false, 1, 0, []float64{1}, nil).verdicts(); len(got) != 0 {
		t.Errorf("a verdict against what was not measured: %+v", got)
	}
}

func TestMedian(t *testing.T) {
	o := outcomeOf("a1", false, 0, 0, []float64{5, 1, 3}, []float64{4, 1, 2, 10})
	if o.median(0) != 3 || o.median(1) != 3 {
		t.Errorf("medians %v and %v", o.median(0), o.median(1))
	}
}

// TestPageKeepsOtherRows: a run of some rows does not lose what earlier runs found out.
func TestPageKeepsOtherRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "performance.md")
	written := page{path: path, head: standaloneHead, order: standaloneOrder()}
	write := func(all ...outcome) string {
		t.Helper()
		if err := written.write(machine{commit: "abc", cores: 2}, all); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write(outcomeOf("b", false, 0.5, 0, []float64{1111}, []float64{2}), outcomeOf("c", false, 0.5, 0, []float64{2222}, []float64{2}))
	first := write(outcomeOf("c", false, 0.5, 0, []float64{3333}, []float64{2}), outcomeOf("a1", false, 0.5, 0, []float64{4444}, []float64{2}))
	a, b, c := strings.Index(first, "4,444"), strings.Index(first, "1,111"), strings.Index(first, "3,333")
	if a < 0 || b < a || c < b || strings.Contains(first, "2,222") {
		t.Errorf("page:\n%s", first)
	}
	if again := write(outcomeOf("a1", false, 0.5, 0, []float64{4444}, []float64{2})); again != first {
		t.Errorf("written again, the page differs:\n%s", again)
	}
}

func TestEveryRowHasItsPlaceAndNote(t *testing.T) {
	for _, fleet := range []bool{false, true} {
		b := &bench{options: options{Pairs: 1, Fleet: fleet}}
		page, known := b.page(), map[string]bool{}
		for _, id := range page.order {
			known[id] = true
		}
		for _, r := range b.rows() {
			if !known[r.id] {
				t.Errorf("row %s has no place on %s", r.id, page.path)
			}
			delete(known, r.id)
			if _, ok := between("\n"+page.notes+"\n## ", "\n## "+r.id+"\n", "\n## "); !ok {
				t.Errorf("nobody says what limits row %s of %s", r.id, page.path)
			}
		}
		for id := range known {
			t.Errorf("there is no row %s of %s", id, page.path)
		}
	}
}
