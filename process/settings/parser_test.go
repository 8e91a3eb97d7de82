package settings

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// every has each kind of setting.
type every struct {
	HTTPListen string        `help:"Where."`
	Count      int           `default:"1"`
	Size       int64         `default:"0x10"`
	Share      float64       `default:"0.5"`
	Wait       time.Duration `default:"1s"`
	Quick      bool          `default:"true" negatable:""`
	Hosts      []string      `default:"a,b" placeholder:"HOST"`
	Modes      []string      `enum:"x,y" sep:";"`
	Kept       int           `settings:"-"`
	Names      []string      `arg:"" default:""`
}

func parseEvery(args ...string) (*every, error) {
	selected, err := Parse(Grammar{Name: "prog", Commands: &every{Kept: 7}}, args, nil, io.Discard)
	if err != nil {
		return nil, err
	}
	return selected.(*every), nil
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args   string
		change func(*every)
		says   string // of the error
	}{
		{args: "", change: func(*every) {}},
		{args: "--http-listen=:1 --count -5 --size=7 --share=1e3 --wait=2m", change: func(e *every) {
			e.HTTPListen, e.Count, e.Size, e.Share, e.Wait = ":1", -5, 7, 1000, 2*time.Minute
		}},
		{args: "--no-quick", change: func(e *every) { e.Quick = false }},
		{args: "--no-quick --quick", change: func(*every) {}},
		{args: "--quick=no", change: func(e *every) { e.Quick = false }},
		{args: "--count=2 --count=3", change: func(e *every) { e.Count = 3 }},
		{args: "--hosts=c,d, --hosts e", change: func(e *every) { e.Hosts = []string{"c", "d", "e"} }},
		{args: "--hosts=", change: func(e *every) { e.Hosts = nil }},
		{args: "--modes=x;y", change: func(e *every) { e.Modes = []string{"x", "y"} }},
		{args: "n --count=2 - -- --count", change: func(e *every) { e.Count, e.Names = 2, []string{"n", "-", "--count"} }},
		{args: "--modes=x,y", says: `--modes: "x,y" is not one of x, y`},
		{args: "--count=", says: `--count: ""`},
		{args: "--count", says: "--count needs a value"},
		{args: "--count --size=1", says: "--count needs a value"},
		{args: "--size=9223372036854775808", says: "--size"},
		{args: "--share=half", says: `--share: "half"`},
		{args: "--quick=maybe", says: "--quick"},
		{args: "--no-quick=true", says: "--no-quick takes no value"},
		{args: "--no-count", says: "--no-count"},
		{args: "--kept=1", says: "--kept"},
		{args: "-count=1", says: "-count"},
		{args: "--=1", says: "unknown flag --"},
	} {
		t.Run(c.args, func(t *testing.T) {
			got, err := parseEvery(strings.Fields(c.args)...)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v does not say %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := &every{Count: 1, Size: 16, Share: 0.5, Wait: time.Second, Quick: true, Hosts: []string{"a", "b"}, Kept: 7}
			c.change(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

type inner struct {
	Name string `default:"inner"`
	Deep struct {
		Name  string
		Other string `default:"x"`
	} `embed:"" prefix:"deep-"`
}

// TestTakenOut sees a field take its namesakes out, however deep, and leave the rest.
func TestTakenOut(t *testing.T) {
	var outer struct {
		Name  struct{} `settings:"-"`
		inner `embed:"" prefix:"in-"`
	}
	if _, err := Parse(Grammar{Name: "prog", Commands: &outer}, []string{"--in-deep-other=y"}, nil, io.Discard); err != nil {
		t.Fatal(err)
	}
	if outer.Deep.Other != "y" || outer.inner.Name != "" {
		t.Errorf("got %+v", outer)
	}
	if _, err := Parse(Grammar{Name: "prog", Commands: &outer}, []string{"--in-name=y"}, nil, io.Discard); err == nil {
		t.Error("what was taken out can be set")
	}
}

// TestMistakenStructs sees whoever writes a struct told what is wrong with it.
func TestMistakenStructs(t *testing.T) {
	for says, commands := range map[string]any{
		"not a pointer": struct{}{},
		"defualt": &struct {
			A int `defualt:"1"`
		}{},
		"kong": &struct {
			A int `kong:"-"`
		}{},
		"cannot be a map": &struct{ A map[string]string }{},
		"two flags --a": &struct {
			A int
			B int `name:"a"`
		}{},
		"two flags --help": &struct{ Help bool }{},
		"both commands and settings": &struct {
			A int
			B struct{} `cmd:""`
		}{},
		"the default of --a": &struct {
			A int `default:"x"`
		}{},
		"none is the default": &struct {
			A string `enum:"x,y"`
		}{},
		"${b}": &struct {
			A string `default:"${b}"`
		}{},
		"negatable": &struct {
			A int `negatable:""`
		}{},
		"takes all": &struct {
			A []string `arg:""`
			B string   `arg:""`
		}{},
		"a command is a struct": &struct {
			A int `cmd:""`
		}{},
	} {
		t.Run(says, func(t *testing.T) {
			_, err := Parse(Grammar{Name: "prog", Commands: commands}, []string{"x"}, nil, io.Discard)
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v does not say %q", err, says)
			}
		})
	}
}

func TestDashed(t *testing.T) {
	for name, want := range map[string]string{"Mode": "mode", "MaxBytes": "max-bytes", "HTTPListen": "http-listen", "NodeID": "node-id", "CoAP": "co-ap"} {
		if got := dashed(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// FuzzParse has any command line either refused or taken, and what is taken keeps what no flag can reach.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "--count=1\n--hosts=a,b", "-h", "--\n--count", "--no-quick", "--=", "--modes=;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		got, err := parseEvery(strings.Split(lines, "\n")...)
		switch {
		case errors.Is(err, ErrHelp):
		case err != nil && err.Error() == "":
			t.Error("an error that says nothing")
		case err == nil && got.Kept != 7:
			t.Errorf("it set what is no setting: %+v", got)
		}
	})
}
