package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// number writes v with as many digits as it deserves, thousands apart.
func number(v float64) string {
	switch {
	case math.Abs(v) < 10:
		return fmt.Sprintf("%.2f", v)
	case math.Abs(v) < 1000:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// print writes the row's medians and values.
func (o outcome) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s) %s, %s\n", o.id, o.title, o.unit)
	for i, s := range o.sides {
		fmt.Fprintf(w, "   %-44s %12s   %s\n", s.name, number(o.median(i)), o.raw(i))
	}
}

// raw is every value of side i, in the order taken.
func (o outcome) raw(i int) string {
	if len(o.values[i]) == 0 {
		return "not measured"
	}
	var all []string
	for _, v := range o.values[i] {
		all = append(all, number(v))
	}
	return strings.Join(all, " · ")
}

// verdict is one requirement of a row, and whether it is met.
type verdict struct {
	against    string // "" for the value itself
	value      float64
	floor, aim float64 // 0: none
	less       bool
}

func (v verdict) String() string {
	mark, good := "below the floor", func(bound float64) bool { return v.less == (v.value <= bound) || v.value == bound }
	switch {
	case v.aim != 0 && good(v.aim):
		mark = "reaches the aim"
	case v.floor == 0:
		mark = ""
	case good(v.floor):
		mark = "above the floor"
	}
	if v.less && v.floor != 0 {
		mark = strings.NewReplacer("below the floor", "misses the floor", "above the floor", "within the floor").Replace(mark)
	}
	return mark
}

func (o outcome) verdicts() []verdict {
	var all []verdict
	for _, name := range slices.Sorted(maps.Keys(o.floors)) {
		against := o.side(name)
		if against < 0 || len(o.values[0]) == 0 || len(o.values[against]) == 0 {
			continue // not measured
		}
		v := verdict{against: name, floor: o.floors[name], aim: o.aims[name], less: o.less, value: o.median(0)}
		if name != "" {
			v.value /= o.median(against)
		}
		all = append(all, v)
	}
	return all
}

// side returns the place of the side called name, of ours for "", and -1 when there is none.
func (o outcome) side(name string) int {
	if name == "" {
		return 0
	}
	return slices.IndexFunc(o.sides, func(s side) bool { return s.name == name })
}

// requirement names what a verdict is about, such as "0.45 of the bus alone".
func (o outcome) requirement(v verdict) (what, floor, aim string) {
	write := func(x float64) string {
		switch {
		case x == 0:
			return ""
		case v.against == "":
			return number(x) + " " + o.unit
		}
		return fmt.Sprintf("%.2f ×", x)
	}
	what = write(v.value)
	if v.against != "" {
		what += " " + v.against
	}
	return what, write(v.floor), write(v.aim)
}

// printTable writes what was required and what was reached, a line per requirement.
func printTable(w io.Writer, all []outcome) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tmeasured\tfloor\taim\t")
	for _, o := range all {
		for _, v := range o.verdicts() {
			what, floor, aim := o.requirement(v)
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", o.id, what, floor, aim, v)
		}
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintln(w, err)
	}
}
