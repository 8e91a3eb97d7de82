package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process"
)

// output is what a command writes while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output matches.
func (o *output) await(t *testing.T, pattern string) []string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if match := want.FindStringSubmatch(o.String()); match != nil {
			return match
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come:\n%s", pattern, o)
		}
	}
}

// start runs a command with addresses of its own; stop has it end, if the test has not, and returns its exit code.
func start(t *testing.T, out, errs *output, args ...string) (stop func() int) {
	t.Helper()
	signals, code := make(chan os.Signal, 1), make(chan int, 1)
	inv := process.Invocation{Name: "sluice", Stdout: out, Stderr: errs, Signals: signals}
	inv.Args = append(args, "--admin-listen=127.0.0.1:0", "--mqtt-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--coap-listen=127.0.0.1:0")
	go func() { code <- process.Execute(inv, &commands{}) }()
	stop = sync.OnceValue(func() int {
		signals <- os.Interrupt
		return <-code
	})
	t.Cleanup(func() { stop() })
	return stop
}

// TestDemo sees the demo as a person without a terminal does.
func TestDemo(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	var out, errs output
	begun := time.Now()
	stop := start(t, &out, &errs, "demo", "--demo-interval=100ms")
	match := out.await(t, `started in (\d+) ms.*the data is in (\S+)\.\n`)
	out.await(t, `\n  Thermostat T1 +humidity=\d`)
	t.Logf("started in %s ms, something to see after %s", match[1], time.Since(begun))
	out.await(t, `acknowledged [1-9]\d* \(\d+/s\)   stored [1-9]`)
	for _, device := range demoDevices() {
		out.await(t, `\n  `+device.Name+` `)
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, &errs)
	}
	if _, err := os.Stat(match[2]); !os.IsNotExist(err) {
		t.Errorf("the data is still there: %v", err)
	}
	for line := range strings.Lines(errs.String()) {
		if !strings.Contains(line, `"level":"INFO"`) {
			t.Errorf("logged: %s", line)
		}
	}
}

// TestStandalone sees the first start and the second, and the admin socket in between.
func TestStandalone(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	data := t.TempDir()
	var first, second, letters, errs output
	stop := start(t, &first, &errs, "standalone", "--data="+data)
	first.await(t, `Log in once as \S+@\S+ / \S+ and.*\nMQTT 127\.0\.0\.1:\d+   HTTP http://127`)
	inv := process.Invocation{Name: "sluice", Args: []string{"dead-letters", "list", "--data=" + data}, Stdout: &letters, Stderr: &errs}
	if code := process.Execute(inv, &commands{}); code != 0 || !strings.HasPrefix(letters.String(), "ID ") {
		t.Errorf("dead-letters list: exit code %d: %s%s", code, &letters, &errs)
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, &errs)
	}
	stop = start(t, &second, &errs, "standalone", "--data="+data)
	second.await(t, `MQTT 127\.0\.0\.1:\d+`)
	if strings.Contains(second.String(), "Log in") {
		t.Errorf("the second start printed credentials: %s", &second)
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

func TestVersion(t *testing.T) {
	var out, errs output
	inv := process.Invocation{Name: "sluice", Args: []string{"version"}, Stdout: &out, Stderr: &errs}
	if code := process.Execute(inv, &commands{}); code != 0 || !strings.HasPrefix(out.String(), "sluice ") {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}
