package script

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

func TestCallsAreAnswered(t *testing.T) {
	broker := bustest.Broker(t)
	e := startExecutor(t, broker, "executor", func(c script.Call) []script.Answer {
		if c.Args[0] == "undefined" {
			return []script.Answer{{Undefined: true}}
		}
		return echo(c)
	})
	s := open(t, broker, nil).prepare(t, tenantA, "return msg")
	for _, text := range []string{`{"a":1}`, "undefined", `"b"`} {
		want := text
		if text == "undefined" {
			want = ""
		}
		if got, err := s.Call(t.Context(), args(text)); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	withText := 0
	for _, c := range e.calls() {
		if c.Body != "" {
			withText++
		}
	}
	if withText != 1 {
		t.Errorf("the text was sent %d times", withText)
	}
}

func TestOutcomes(t *testing.T) {
	broker := bustest.Broker(t)
	var next atomic.Pointer[script.Answer]
	startExecutor(t, broker, "executor", func(script.Call) []script.Answer { return []script.Answer{*next.Load()} })
	f := open(t, broker, nil)
	for i, c := range []struct {
		name   string
		answer script.Answer
		kind   Kind
		counts bool
	}{
		{"thrown", script.Answer{Outcome: script.Runtime, Text: "Error: x", Line: 2}, Runtime, false},
		{"C22 an error that says it is a time-out", script.Answer{Outcome: script.Runtime, Text: "Error: Script execution timed out"}, Runtime, false},
		{"C6 too deep", script.Answer{Outcome: script.Runtime, Text: "RangeError: Maximum call stack size exceeded"}, Runtime, false},
		{"C1 too long", script.Answer{Outcome: script.Timeout, Text: "Script execution timed out"}, Timeout, true},
		{"C4 too much memory", script.Answer{Outcome: script.Memory, Text: "m"}, Memory, true},
		{"does not compile any more", script.Answer{Outcome: script.Compilation, Text: "SyntaxError: x", Line: 7}, Compile, true},
		{"C7 result too large", script.Answer{Outcome: script.ResultTooLarge, Text: "r"}, TooLarge, false},
		{"executor full", script.Answer{Outcome: script.Pending, Text: "p"}, Pending, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			next.Store(&c.answer)
			s := f.prepare(t, tenantA, fmt.Sprint("return ", i))
			for range 4 {
				_, err := s.Call(t.Context(), args("{}"))
				var own *Error
				if !errors.As(err, &own) || rule.PlatformFault(err) {
					t.Fatalf("got %v", err)
				}
				if own.Kind == Blocked && c.counts {
					break
				}
				if own.Kind != c.kind || own.Text != c.answer.Text || own.Line != c.answer.Line {
					t.Fatalf("got %+v", own)
				}
			}
			_, err := s.Call(t.Context(), args("{}"))
			var own *Error
			if errors.As(err, &own); (own.Kind == Blocked) != c.counts {
				t.Errorf("after four: %v", err)
			}
		})
	}
}

func TestC1_BlockedAfterThreeAndTriedAgain(t *testing.T) {
	broker := bustest.Broker(t)
	e := startExecutor(t, broker, "executor", func(script.Call) []script.Answer { return []script.Answer{{Outcome: script.Timeout}} })
	f := open(t, broker, nil)
	s := f.prepare(t, tenantA, "while(true){}")
	kind := func(s *Script) Kind {
		t.Helper()
		_, err := s.Call(t.Context(), args("{}"))
		var own *Error
		if !errors.As(err, &own) {
			t.Fatalf("got %v", err)
		}
		return own.Kind
	}
	for i, want := range []Kind{Timeout, Timeout, Timeout, Blocked, Blocked} {
		if got := kind(s); got != want {
			t.Errorf("call %d: %v, want %v", i, got, want)
		}
	}
	if n := len(e.calls()); n != 3 {
		t.Errorf("executors were asked %d times", n)
	}
	if got := kind(f.prepare(t, tenantA, "while(true){} // edited")); got != Timeout {
		t.Errorf("edited: %v", got)
	}
	if got := kind(f.prepare(t, tenantA, "while(true){}")); got != Blocked {
		t.Errorf("the same script prepared again: %v", got)
	}
	if got := kind(f.prepare(t, tenantB, "while(true){}")); got != Timeout {
		t.Errorf("another tenant's: %v", got)
	}
	f.pass(59 * time.Second)
	if got := kind(s); got != Blocked {
		t.Errorf("before a minute has passed: %v", got)
	}
	f.pass(time.Second)
	for i, want := range []Kind{Timeout, Timeout, Timeout, Blocked} {
		if got := kind(s); got != want {
			t.Errorf("a minute later, call %d: %v, want %v", i, got, want)
		}
	}
}

func TestE1_TheTextIsSentWhenItIsMissing(t *testing.T) {
	broker := bustest.Broker(t)
	e := startExecutor(t, broker, "executor", func(c script.Call) []script.Answer {
		if c.Body == "" {
			return []script.Answer{{Outcome: script.NotFound}}
		}
		return echo(c)
	})
	s := open(t, broker, nil).prepare(t, tenantA, "return msg")
	for i := range 3 {
		if got, err := s.Call(t.Context(), args(fmt.Sprint(i))); err != nil || got != fmt.Sprint(i) {
			t.Errorf("call %d: %q, %v", i, got, err)
		}
	}
	if n := len(e.calls()); n != 5 { // one with the text, two without and again with it
		t.Errorf("executors were asked %d times", n)
	}
}

func TestE3_NoAnswerIsAskedElsewhere(t *testing.T) {
	broker := bustest.Broker(t)
	var silent atomic.Int64
	e := startExecutor(t, broker, "executor", func(c script.Call) []script.Answer {
		if silent.Add(-1) >= 0 {
			return nil // it dies with the call
		}
		return echo(c)
	})
	f := open(t, broker, func(c *Config) { c.Timeout, c.Budget = 50*time.Millisecond, 2*time.Second })
	s := f.prepare(t, tenantA, "return msg")
	for i := range 4 {
		silent.Store(2)
		began := time.Now()
		if got, err := s.Call(t.Context(), args("1")); err != nil || got != "1" {
			t.Fatalf("call %d: %q, %v", i, got, err)
		}
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("answered after %v, with two attempts lost", took)
		}
	}
	if n := f.count(t, "script_calls_again_total"); n != 8 {
		t.Errorf("%v calls were asked again, want 8", n)
	}
	for _, c := range e.calls() {
		if c.Budget > 2*time.Second {
			t.Errorf("a budget of %v", c.Budget)
		}
	}
}

func TestE4_ExecutorsAwayAreNotTheScriptsFault(t *testing.T) {
	broker := bustest.Broker(t)
	f := open(t, broker, func(c *Config) { c.Timeout, c.Budget = 10*time.Millisecond, 100*time.Millisecond })
	s := f.prepare(t, tenantA, "return msg")
	for range 5 {
		_, err := s.Call(t.Context(), args("1"))
		if !rule.PlatformFault(err) {
			t.Fatalf("without executors: %v", err)
		}
	}
	startExecutor(t, broker, "executor", echo)
	await(t, "the script does not run again", func() bool {
		_, err := s.Call(t.Context(), args("1"))
		if err != nil && !rule.PlatformFault(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func TestE5_EqualScriptsShareAndOneLeaves(t *testing.T) {
	broker := bustest.Broker(t)
	startExecutor(t, broker, "executor", echo)
	f := open(t, broker, nil)
	first, second := f.prepare(t, tenantA, "return msg"), f.prepare(t, tenantA, "return msg")
	if first.state != second.state {
		t.Error("equal scripts do not share")
	}
	first = nil
	runtime.GC()
	if got, err := second.Call(t.Context(), args("1")); err != nil || got != "1" {
		t.Errorf("%q, %v", got, err)
	}
	runtime.KeepAlive(second)
	second = nil
	await(t, "scripts nobody has are kept", func() bool {
		runtime.GC()
		f.Scripts.mu.Lock()
		defer f.Scripts.mu.Unlock()
		return len(f.known) == 0
	})
	_, _ = first, second
}

func TestE6_OnlyTheFirstAnswerCounts(t *testing.T) {
	broker := bustest.Broker(t)
	startExecutor(t, broker, "executor", func(c script.Call) []script.Answer {
		return []script.Answer{{Text: c.Args[0]}, {Outcome: script.Timeout}, {Text: "another"}}
	})
	f := open(t, broker, nil)
	s := f.prepare(t, tenantA, "return msg")
	for i := range 3 {
		if got, err := s.Call(t.Context(), args(fmt.Sprint(i))); err != nil || got != fmt.Sprint(i) {
			t.Errorf("call %d: %q, %v", i, got, err)
		}
	}
	await(t, "late answers are not counted", func() bool { return f.count(t, "script_late_answers_total") == 6 })
}

func TestE8_PendingCallsAreBounded(t *testing.T) {
	broker := bustest.Broker(t)
	f := open(t, broker, func(c *Config) { c.Pending, c.TenantPending = 30, 20 })
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	flood := func(s *Script, n int) {
		before := int(f.count(t, "script_pending_calls"))
		for range n {
			waiting.Go(func() {
				if _, err := s.Call(ctx, args("1")); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		await(t, "calls are not under way", func() bool { return int(f.count(t, "script_pending_calls")) == before+n })
	}
	refused := func(what string, s *Script) {
		t.Helper()
		began := time.Now()
		_, err := s.Call(t.Context(), args("1"))
		var own *Error
		if !errors.As(err, &own) || own.Kind != Pending || time.Since(began) > time.Second {
			t.Errorf("%s: %v after %v", what, err, time.Since(began))
		}
	}
	a, b := f.prepare(t, tenantA, "return 1"), f.prepare(t, tenantB, "return 1")
	flood(a, 20)
	refused("C31 one more of a tenant that has its share", a)
	flood(b, 10) // the other's are admitted
	refused("one more than all may be", b)
}

func TestSizes(t *testing.T) {
	broker := bustest.Broker(t)
	e := startExecutor(t, broker, "executor", func(script.Call) []script.Answer { return []script.Answer{{Text: "1"}} })
	f := open(t, broker, nil)
	s := f.prepare(t, tenantA, "return msg")
	for _, c := range []struct {
		name string
		arg  string
		ok   bool
	}{
		{"B24 arguments of 100 000 characters", many("x", 99_997), true},
		{"B24 arguments of 100 001 characters", many("x", 99_998), false},
		{"B24 characters, not bytes", many("é", 99_997), true},
		{"B24 a pair of surrogates is two", many("😀", 49_999), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(e.calls())
			_, err := s.Call(t.Context(), []string{c.arg, "{}", "T"})
			var own *Error
			if (err == nil) != c.ok || err != nil && (!errors.As(err, &own) || own.Kind != TooLarge) {
				t.Errorf("got %v", err)
			}
			if asked := len(e.calls()) > before; asked != c.ok {
				t.Errorf("asked an executor: %v", asked)
			}
		})
	}
	for _, c := range []struct {
		name string
		body string
		text string
	}{
		{"B25 a body of 50 000 characters", "return 1;" + many(" ", 49_991), ""},
		{"B25 a body of 50 001 characters", "return 1;" + many(" ", 49_992), "Script body exceeds maximum allowed size of 50000 symbols"},
		{"empty", " \n\t", "Script body is empty"},
		{"C15 async", "async function f(){}", "Script must not contain 'async' keyword."},
		{"C15 await", "x\n= await y", "Script must not contain 'await' keyword."},
		{"C15 Promise", "return Promise.resolve()", "Script must not use 'Promise'."},
		{"C15 setTimeout", "setTimeout(f)", "Script must not use 'setTimeout' method."},
		{"C15 in a line comment", "return 1 // await it", ""},
		{"C15 in a block comment", "/* Promise\nasync */ return 1", ""},
		{"C15 in texts", `return "async" + 'await' + ` + "`setTimeout`", ""},
		{"C15 behind a quote in a text", `return "it's" + 'a "Promise"'`, ""},
		{"C15 part of another word", "var asynchronous = 1, myPromise = 2; return awaiting", ""},
		{"C15 behind a line comment", "// x\nawait y", "Script must not contain 'await' keyword."},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := f.Prepare(tenantA, update, c.body)
			if got := fmt.Sprint(err); c.text == "" && err != nil || c.text != "" && got != c.text {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
}

func TestCompileTellsTheLine(t *testing.T) {
	broker := bustest.Broker(t)
	startExecutor(t, broker, "executor", func(c script.Call) []script.Answer {
		if !c.Compile || c.Body == "" {
			t.Errorf("asked to compile with %+v", c)
		}
		return []script.Answer{{Outcome: script.Compilation, Text: "SyntaxError: x", Line: 3}}
	})
	err := open(t, broker, nil).prepare(t, tenantA, "(").Compile(t.Context())
	var own *Error
	if !errors.As(err, &own) || own.Kind != Compile || own.Line != 3 {
		t.Errorf("got %v", err)
	}
}

func TestManyCallsOfOneScriptAreSpread(t *testing.T) {
	broker := bustest.Broker(t)
	var (
		held = make(chan struct{})
		once sync.Once
	)
	release := func() { once.Do(func() { close(held) }) }
	defer release()
	e := startExecutor(t, broker, "executor", func(c script.Call) []script.Answer {
		<-held
		return echo(c)
	})
	f := open(t, broker, func(c *Config) { c.Budget = 20 * time.Second })
	s := f.prepare(t, tenantA, "return msg")
	var calling sync.WaitGroup
	defer calling.Wait()
	const calls = 300
	for i := range calls {
		calling.Go(func() {
			if got, err := s.Call(t.Context(), args(fmt.Sprint(i))); err != nil || got != fmt.Sprint(i) {
				t.Errorf("call %d: %q, %v", i, got, err)
			}
		})
	}
	await(t, "calls are not under way", func() bool { return f.count(t, "script_pending_calls") == calls })
	if part := s.part(); part == s.key && s.part() == s.key {
		t.Error("300 calls go to one partition")
	}
	release()
	calling.Wait()
	if part := s.part(); part != s.key {
		t.Errorf("alone, a call goes to %s", part)
	}
	if n := len(e.calls()); n != calls {
		t.Errorf("%d calls were made", n)
	}
}
