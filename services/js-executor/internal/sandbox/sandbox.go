// Package sandbox takes from the process that runs scripts everything it does not need: files, sockets, other programs, memory
// without end. What is taken is never given back.
package sandbox

import "errors"

// Limits bound the process.
type Limits struct {
	// DataBytes is how much memory it may map for itself.
	DataBytes uint64
}

// ErrWeak says that this system, or its kernel, cannot shut the process in.
var ErrWeak = errors.New("this system cannot shut scripts in; they would have a watchdog and a soft memory limit only")
