package formula

import (
	"math"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	for text, want := range map[string]float64{
		"(x - 32) / 1.8": 20, "1+2*3": 7, "(1+2)*3": 9, "2^3^2": 512, "-2^2": -4, "2^-1": 0.5, "10-4-3": 3, "2*-3": -6, "7 % 4": 3,
		"1e3+.5": 1000.5, "2E-1": 0.2, "sqrt(x+x1-4)": 8, "max(1, min(5, 3))": 3, "abs(-x)": 68, "floor(1.9)+ceil(1.1)": 3, "pow(2, 10)": 1024,
		"pi": math.Pi, "sin(0)+cos(0)": 1, "signum(-5)": -1, "toradian(180)": math.Pi, "1/0": math.Inf(1), " + x ": 68, "hypot(3,4)": 5, "logb(2,8)": 3,
	} {
		f, err := Parse(text, []string{"x", "x1"})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.Value(map[string]float64{"x": 68, "x1": 0}); got != want && math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

func TestWhatIsNoFormula(t *testing.T) {
	for _, text := range []string{
		"", "1+", "(1", "1)", "y", "x y", "sin()", "sin(1,2)", "nothing(1)", "1..2", "1e", "x;", "2 2", "*2", "max(1)", "x.y",
		strings.Repeat("(", MaxDepth+1) + "1" + strings.Repeat(")", MaxDepth+1), strings.Repeat("-", MaxDepth+1) + "1", strings.Repeat("1+", MaxLength) + "1",
	} {
		if _, err := Parse(text, []string{"x"}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"(x - 32) / 1.8", "max(1,x)^-2", "1e5", "((((", "π*x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		formula, err := Parse(text, []string{"x"})
		if (err == nil) == (formula == nil) {
			t.Fatalf("%q: %v, %v", text, formula, err)
		}
		if err == nil {
			formula.Value(map[string]float64{"x": 1})
		}
	})
}
