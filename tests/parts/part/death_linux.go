package part

import "syscall"

// endWithParent has the kernel end a child whose parent is gone, however that went.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// EndWithParent has the kernel send SIGTERM to this process when its own parent is gone: `go run` that is killed
// would leave it, and with it all parts, behind.
func EndWithParent() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0)
}
