package child

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/pipe"
)

// process is a child as its parent has it.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Reader
	how string
}

func start(t *testing.T, s Settings) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(self, append([]string{"child"}, s.Args()...)...)}
	p.cmd.Env, p.cmd.Stderr = []string{}, os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	text, err := pipe.Read(p.out)
	if err != nil {
		t.Fatal(err)
	}
	if p.how, _, err = script.DecodeAnswers(text); err != nil {
		t.Fatal(err)
	}
	return p
}

// ask sends calls and returns as many answers.
func (p *process) ask(calls ...script.Call) (answers []script.Answer) {
	p.t.Helper()
	b := pipe.Begin(nil)
	for i := range calls {
		b = script.AppendCall(b, &calls[i])
	}
	if _, err := p.in.Write(pipe.End(b)); err != nil {
		p.t.Fatal(err)
	}
	for len(answers) < len(calls) {
		text, err := pipe.Read(p.out)
		if err != nil {
			p.t.Fatal(err)
		}
		_, some, err := script.DecodeAnswers(text)
		if err != nil {
			p.t.Fatal(err)
		}
		answers = append(answers, some...)
	}
	return answers
}

func settings() Settings {
	return Settings{MemoryBytes: 64 << 20, ResultChars: 300_000, Depth: 2000, Programs: 1000}
}

func TestChildRunsScripts(t *testing.T) {
	began := time.Now()
	p := start(t, settings())
	t.Logf("ready after %v: %s", time.Since(began), p.how)
	call := script.Call{ID: 1, Script: script.ID{1}, Args: []string{`{"a":1}`, "{}", "T"}, Timeout: time.Second}
	if got := p.ask(call)[0]; got.Outcome != script.NotFound {
		t.Errorf("a script that was not sent: %+v", got)
	}
	call.ID, call.Body, call.Parameters = 2, "return msg.a", []string{"msg", "metadata", "msgType"}
	if got := p.ask(call)[0]; got.ID != 2 || got.Text != "1" {
		t.Errorf("got %+v", got)
	}
	call.ID, call.Body = 3, ""
	if got := p.ask(call)[0]; got.ID != 3 || got.Text != "1" {
		t.Errorf("the second time: %+v", got)
	}
}

// The answer of a call that ran while those behind it were taken back waits for nobody.
func TestAnAnswerDoesNotWaitForWhatWasTakenBack(t *testing.T) {
	p := start(t, settings())
	slow := script.Call{ID: 1, Script: script.ID{1}, Args: []string{"{}", "{}", "T"}, Timeout: time.Second, Body: "var end = Date.now() + 200; while (Date.now() < end); return 1", Parameters: []string{"msg", "metadata", "msgType"}}
	behind := slow
	behind.ID = 2
	text := script.AppendCall(script.AppendCall(pipe.Begin(nil), &slow), &behind)
	if _, err := p.in.Write(pipe.End(text)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the first one is running, or not even read: the rest holds either way
	if _, err := p.in.Write(pipe.End(pipe.Begin(nil))); err != nil {
		t.Fatal(err)
	}
	for answered, back := false, false; !answered || !back; {
		text, err := pipe.Read(p.out)
		if err != nil {
			t.Fatal(err)
		}
		source, answers, err := script.DecodeAnswers(text)
		if err != nil {
			t.Fatal(err)
		}
		if source == GivenBack {
			back = true
			running := answers[len(answers)-1].ID
			answers = answers[:len(answers)-1]
			answered = answered || running == 0 // it was taken back, too, or its answer is in
		}
		answered = answered || len(answers) > 0
	}
}
