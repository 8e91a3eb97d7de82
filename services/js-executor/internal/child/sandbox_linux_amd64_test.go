package child

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/sluice-iot/sluice/services/js-executor/internal/sandbox"
)

// attempts are what code that got out of the engine might try. Each returns nil when it succeeds.
var attempts = []struct {
	name string
	try  func() error
}{
	{"C11 open a file", func() error { _, err := os.Open("/etc/passwd"); return err }},
	{"C11 make a file", func() error { _, err := os.Create("/tmp/sluice-escaped"); return err }},
	{"C11 list a folder", func() error { _, err := os.ReadDir("/"); return err }},
	{"C11 read the own process' files", func() error { _, err := os.ReadFile("/proc/self/environ"); return err }},
	{"C11 read the parent's environment", func() error { _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid())); return err }},
	{"C11 read its memory", func() error { _, err := os.Open("/proc/self/mem"); return err }},
	{"C11 a TCP socket", socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)},
	{"C11 a TCP socket of version 6", socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)},
	{"C11 a UDP socket", socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)},
	{"C11 an MPTCP socket", socket(syscall.AF_INET, syscall.SOCK_STREAM, 262)},
	{"C11 a Unix socket", socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)},
	{"C11 a netlink socket", socket(syscall.AF_NETLINK, syscall.SOCK_RAW, 0)},
	{"C11 a raw socket", socket(syscall.AF_INET, syscall.SOCK_RAW, 1)},
	{"C11 a pair of sockets", func() error { _, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0); return err }},
	{"C11 connect", func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return refusedByTheSystem(err) }},
	{"C11 run a program", func() error { return exec.Command("/bin/true").Run() }},
	{"C11 become a program", func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) }},
	{"C11 fork", call(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD))},
	{"C11 trace the parent", func() error { return syscall.PtraceAttach(os.Getppid()) }},
	{"C11 kill the parent", func() error { return syscall.Kill(os.Getppid(), 0) }},
	{"C11 io_uring", call(425, 8, uintptr(unsafe.Pointer(&ring)))},
	{"C11 BPF", call(321, 0, 0, 0)},
	{"C11 perf events", call(298, 0, 0, 0)},
	{"C11 userfaultfd", call(323, 0)},
	{"C11 read another process' memory", call(310, uintptr(os.Getppid()), 0, 0)},
	{"C11 a key ring", call(248, 0, 0, 0)},
	{"C11 mount", func() error { return syscall.Mount("none", "/tmp", "tmpfs", 0, "") }},
	{"C11 another root", func() error { return syscall.Chroot("/") }},
	{"C11 another namespace", func() error { return syscall.Unshare(syscall.CLONE_NEWUSER) }},
	{"C11 another user", func() error { return syscall.Setuid(1) }},
	{"C11 a larger limit", func() error {
		return syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: 1 << 40, Max: 1 << 40})
	}},
	{"C11 memory in a file", call(319, uintptr(unsafe.Pointer(&ring)), 0)},
	{"C11 send a message queue", call(240, uintptr(unsafe.Pointer(&ring)), 0)},
}

var ring [256]byte

func socket(family, kind, protocol int) func() error {
	return func() error {
		_, err := syscall.Socket(family, kind, protocol)
		return err
	}
}

func call(number uintptr, arguments ...uintptr) func() error {
	return func() error {
		var a [3]uintptr
		copy(a[:], arguments)
		if _, _, errno := syscall.RawSyscall(number, a[0], a[1], a[2]); errno != 0 {
			return errno
		}
		return nil
	}
}

// refusedByTheSystem passes an error on that is the sandbox', and not that of a port nobody listens on.
func refusedByTheSystem(err error) error {
	if err != nil && strings.Contains(err.Error(), "refused") {
		return nil
	}
	return err
}

// probe is the child of the test: it shuts itself in as Main does and tries everything.
func probe() int {
	how, err := sandbox.Enter(sandbox.Limits{DataBytes: 512 << 20})
	if err != nil {
		fmt.Println("enter:", err)
		return 1
	}
	fmt.Println("shut in:", how)
	for _, a := range attempts {
		fmt.Printf("%s: %v\n", a.name, a.try())
	}
	fmt.Println("environment:", len(os.Environ()))
	return 0
}

func TestC11_NothingButComputing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self, "probe")
	command.Env = []string{}
	said, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	results := map[string]string{}
	for line := range strings.Lines(string(said)) {
		if name, result, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			results[name] = result
		}
	}
	for _, want := range []string{"Landlock", "seccomp", "memory limit"} {
		if !strings.Contains(results["shut in"], want) {
			t.Errorf("shut in by %q, without %s", results["shut in"], want)
		}
	}
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			if !strings.Contains(results[a.name], "operation not permitted") && !strings.Contains(results[a.name], "permission denied") {
				t.Errorf("it got %q", results[a.name])
			}
		})
	}
	if results["environment"] != "0" {
		t.Errorf("its environment has %s entries", results["environment"])
	}
}
