//go:build !linux

package part

import "syscall"

// endWithParent has no means here: a test process that is killed leaves its parts behind.
func endWithParent() *syscall.SysProcAttr { return nil }

// EndWithParent has no means here.
func EndWithParent() {}
