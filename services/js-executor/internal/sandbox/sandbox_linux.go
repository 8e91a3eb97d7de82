package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	landlockcall "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// rlimitData and rlimitCore are what package syscall does not name everywhere.
const rlimitData, rlimitCore, rlimitFileSize = syscall.RLIMIT_DATA, syscall.RLIMIT_CORE, syscall.RLIMIT_FSIZE

// Enter shuts the calling process in and says how. It fails with ErrWeak, having done what it could, when the kernel has no system call filter.
func Enter(limits Limits) (how string, err error) {
	bounds := map[int]uint64{rlimitCore: 0, rlimitFileSize: 0}
	if limitData {
		bounds[rlimitData] = limits.DataBytes
	}
	for resource, most := range bounds {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return "", fmt.Errorf("limit resource %d: %w", resource, err)
		}
	}
	how = "memory limit"
	// The kernel may be without Landlock; no file can be opened behind the filter below either.
	if version, err := landlockcall.LandlockGetABIVersion(); err == nil && version > 0 {
		if err := landlock.V5.BestEffort().Restrict(); err != nil {
			return how, fmt.Errorf("take the files away: %w", err)
		}
		how += ", no files (Landlock)"
	}
	if err := filter(); err != nil {
		return how, errors.Join(ErrWeak, err)
	}
	return how + ", no system calls but those of memory, threads and time (seccomp)", nil
}

// calls are what the Go runtime needs once everything is open: memory, threads, time, and reading and writing what is open.
var calls = []string{
	"read", "write", "close", "fcntl",
	"mmap", "munmap", "mprotect", "madvise", "mincore", "brk",
	"futex", "sched_yield", "sched_getaffinity", "exit", "exit_group", "set_robust_list", "rseq",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"getpid", "gettid", "tgkill", "getrandom",
	"clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday",
	"timer_create", "timer_settime", "timer_delete",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2",
}

// filter refuses every other system call with EPERM.
func filter() error {
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("look up system calls: %w", err)
	}
	known := func(name string) bool { _, ok := info.SyscallNames[name]; return ok }
	allowed := slices.DeleteFunc(slices.Clone(calls), func(name string) bool { return !known(name) })
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionAllow, Names: allowed},
			// The C library makes threads by clone3, whose flags no filter can see, and by clone where there is none.
			{Action: seccomp.ActionErrno | seccomp.Action(syscall.ENOSYS), Names: []string{"clone3"}},
			{Action: seccomp.ActionAllow, NamesWithCondtions: []seccomp.NameWithConditions{{
				Name: "clone", // threads, and no processes
				Conditions: seccomp.ArgumentConditions{
					{Argument: 0, Operation: seccomp.BitsSet, Value: syscall.CLONE_THREAD},
				},
			}}},
		},
	}
	if err := seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: policy}); err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return nil
}
