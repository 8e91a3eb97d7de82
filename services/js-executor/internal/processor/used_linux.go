package processor

import (
	"syscall"
	"time"
	"unsafe"
)

// Used returns how much processor time a process has had, all of its threads together; Self is the calling process. Unknown: it is gone.
func Used(pid int) time.Duration {
	// The number of a process' clock is made of its id (kernel, posix-timers.h: MAKE_PROCESS_CPUCLOCK).
	const scheduled = 2
	clock := scheduled
	if pid != Self {
		clock |= ^pid << 3
	}
	var now syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		return Unknown
	}
	return time.Duration(now.Nano())
}
