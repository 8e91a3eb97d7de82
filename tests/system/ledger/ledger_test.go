package ledger

import (
	"strings"
	"testing"
)

// account is a device that sent 1..5, had 1..4 acknowledged, and sent 3 twice.
func account(ownTime bool) *Device {
	d := NewDevice("meter", ownTime)
	for range 5 {
		d.Sending(d.Next())
	}
	d.Sending(3)
	for n := 1; n <= 4; n++ {
		d.Acknowledged(n)
	}
	return d
}

func own(ns ...int) []Row {
	var rows []Row
	for _, n := range ns {
		rows = append(rows, Row{TimeOf(n), n})
	}
	return rows
}

func inOrder(ns ...int) []Row {
	var rows []Row
	for i, n := range ns {
		rows = append(rows, Row{int64(1000 + i), n})
	}
	return rows
}

func TestCheckerNoticesWhatIsPlanted(t *testing.T) {
	for _, c := range []struct {
		name    string
		ownTime bool
		rows    []Row
		problem string // "" when all is well
	}{
		{"own time, all stored", true, own(1, 2, 3, 4, 5), ""},
		{"own time, the unacknowledged one missing", true, own(1, 2, 3, 4), ""},
		{"own time, rows in any order of return", true, own(4, 2, 1, 3), ""},
		{"own time, one lost", true, own(1, 2, 4, 5), "not stored: [3]"},
		{"own time, one twice", true, append(own(1, 2, 3, 4), Row{TimeOf(3), 3}), "duplicates among readings with their own time"},
		{"own time, moved in time", true, append(own(1, 2, 4), Row{TimeOf(3) + 1, 3}), "sent with"},
		{"own time, never sent", true, append(own(1, 2, 3, 4), Row{TimeOf(9), 9}), "never sent"},
		{"transport's time, all stored", false, inOrder(1, 2, 3, 4, 5), ""},
		{"transport's time, the resent one twice", false, inOrder(1, 2, 3, 3, 4), ""},
		{"transport's time, resent after its successor", false, inOrder(1, 2, 3, 4, 3), ""},
		{"transport's time, one lost", false, inOrder(1, 2, 3, 5), "not stored: [4]"},
		{"transport's time, more duplicates than resends", false, inOrder(1, 2, 2, 3, 3, 4), "only 1 resends"},
		{"transport's time, out of order", false, inOrder(1, 3, 2, 4), "2 is stored after 3"},
		{"transport's time, never sent", false, inOrder(1, 2, 3, 4, 7), "never sent"},
		{"nothing stored", false, nil, "4 acknowledged readings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(account(c.ownTime).Check(c.rows).Problems, "; ")
			if c.problem == "" && got != "" || c.problem != "" && !strings.Contains(got, c.problem) {
				t.Errorf("problems: %q, want %q", got, c.problem)
			}
		})
	}
}
