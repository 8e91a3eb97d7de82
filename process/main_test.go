package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// program is a grammar whose commands end in the ways commands do.
type program struct {
	Greet   greet   `cmd:"" help:"Say something."`
	Stick   stick   `cmd:"" help:"Never stop."`
	Wait    wait    `cmd:"" help:"Stop when told to."`
	Nothing nothing `cmd:"" help:"No command at all."`
}

type greet struct {
	Word string `default:"hello" help:"What to say."`
	Fail bool   `help:"Fail instead."`
}

func (g *greet) Run(_ context.Context, inv Invocation) error {
	if g.Fail {
		return errors.New("say " + g.Word + ": no voice")
	}
	_, err := inv.Stdout.Write([]byte(g.Word))
	return err
}

// stick does not listen to its context, only to its test.
type stick struct {
	release chan struct{} `settings:"-"`
}

func (s *stick) Run(context.Context, Invocation) error {
	<-s.release
	return nil
}

type wait struct{}

func (*wait) Run(ctx context.Context, _ Invocation) error {
	<-ctx.Done()
	return nil
}

type nothing struct{}

func TestExecute(t *testing.T) {
	for _, c := range []struct {
		name       string
		args       string
		environ    []string
		code       int
		out, errIn string
	}{
		{name: "a command", args: "greet", out: "hello"},
		{name: "with a flag", args: "greet --word=ho", out: "ho"},
		{name: "with a variable", args: "greet", environ: []string{"PROG_WORD=hi"}, out: "hi"},
		{name: "that fails", args: "greet --fail", code: 1, errIn: "prog: say hello: no voice"},
		{name: "an unknown flag", args: "greet --loud", code: 2, errIn: "--loud"},
		{name: "an unknown command", args: "shout", code: 2, errIn: "shout"},
		{name: "none", args: "", code: 2, errIn: "greet"},
		{name: "one that does nothing", args: "nothing", code: 2, errIn: "nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			inv := Invocation{Name: "prog", Args: strings.Fields(c.args), Environ: c.environ, Stdout: &out, Stderr: &errs}
			if code := Execute(inv, &program{}); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if out.String() != c.out || !strings.Contains(errs.String(), c.errIn) || c.errIn == "" && errs.Len() > 0 {
				t.Errorf("wrote %q and %q, want %q and %q", &out, &errs, c.out, c.errIn)
			}
		})
	}
}

func TestExecuteHelp(t *testing.T) {
	var out bytes.Buffer
	if code := Execute(Invocation{Name: "prog", Args: []string{"greet", "--help"}, Stdout: &out}, &program{}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"--word", "What to say.", "$PROG_WORD", "hello"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not say %q:\n%s", want, &out)
		}
	}
}

func TestFirstSignalStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		signals <- os.Interrupt
		if code := Execute(Invocation{Name: "prog", Args: []string{"wait"}, Signals: signals}, &program{}); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

func TestSecondSignalForces(t *testing.T) {
	signals := make(chan os.Signal, 2)
	signals <- os.Interrupt
	signals <- os.Interrupt
	var errs bytes.Buffer
	inv := Invocation{Name: "prog", Args: []string{"stick"}, Stderr: &errs, Signals: signals}
	release := make(chan struct{})
	defer close(release)
	if code := Execute(inv, &program{Stick: stick{release}}); code != exitForced {
		t.Errorf("exit code %d, want %d", code, exitForced)
	}
}
