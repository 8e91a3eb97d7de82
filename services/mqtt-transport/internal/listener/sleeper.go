package listener

import "net"

// errAsleep: there is nothing to be read yet. TLS takes it for a passing fault and keeps what it has.
var errAsleep net.Error = asleep{}

type asleep struct{}

func (asleep) Error() string   { return "nothing to be read yet" }
func (asleep) Timeout() bool   { return true }
func (asleep) Temporary() bool { return true }
