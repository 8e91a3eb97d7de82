package part

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orphanMaker in the environment has this test binary start a program, say its id and die.
const orphanMaker = "PART_TEST_ORPHAN_MAKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanMaker); dir != "" {
		p := shell(dir, "exec sleep 60")
		if err := p.Launch(); err != nil {
			fmt.Println(err)
		}
		fmt.Println(p.PID())
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	os.Exit(m.Run())
}

// shell is a process that runs a script and is ready when the script has printed "ready".
func shell(dir, script string) *Process {
	p := NewProcess(Command{Name: "script", Program: "/bin/sh", Args: []string{"-c", script}, Dir: dir, Patience: 10 * time.Second})
	p.Ready = func(context.Context) error {
		if len(p.Lines("ready")) == 0 {
			return errors.New("it has not said so")
		}
		return nil
	}
	return p
}

func TestProcess(t *testing.T) {
	p := shell(t.TempDir(), `trap 'exit 7' TERM; echo ready $SLUICE_TEST_KAFKA; while :; do sleep 0.01; done`)
	t.Setenv("SLUICE_TEST_KAFKA", "meant for others")
	if p.Running() || p.Signal(syscall.SIGTERM) {
		t.Error("it runs before it was started")
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Launch(); err == nil {
		t.Error("it was started twice")
	}
	if err := errors.Join(p.Pause(), p.Continue(), p.Pause()); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil || p.Wait() != 7 { // paused as it is
		t.Errorf("stop: exit code %d, %v", p.Wait(), err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := p.PID()
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.PID() == first || !p.Running() || gone(first) != nil {
		t.Error("the restart left what there was")
	}
	p.Kill()
	if p.Running() || p.Wait() != -1 {
		t.Errorf("killed: exit code %d", p.Wait())
	}
	if lines := p.Lines(""); len(lines) == 0 || lines[0] != "ready" {
		t.Errorf("printed: %q", lines)
	}
}

func TestProcessThatEnds(t *testing.T) {
	began := time.Now()
	err := shell(t.TempDir(), "echo no luck; exit 3").Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no luck") || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// TestChildrenEndWithTheirParent kills a process that has started another.
func TestChildrenEndWithTheirParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanMaker+"="+t.TempDir())
	out, err := cmd.Output()
	if err == nil {
		t.Fatal("the parent lives")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("the parent said %q", out)
	}
	if err := gone(pid); err != nil {
		t.Error(err)
	}
}

// gone waits until no process has the id.
func gone(pid int) error {
	for range 500 {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil || strings.Contains(string(text), ") Z ") { // the machine's first process may be slow to bury
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("process %d still runs", pid)
}

func TestFreeAddressIsBelowThoseOfOutgoingConnections(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		address, err := FreeAddress(network)
		if err != nil {
			t.Fatal(err)
		}
		_, port := split(address)
		if n, err := strconv.Atoi(port); err != nil || n < lowestPort || n >= 32768 {
			t.Errorf("%s: %s", network, address)
		}
	}
}
