//go:build !linux

package sandbox

// Enter can do nothing here.
func Enter(Limits) (how string, err error) { return "no sandbox on this system", ErrWeak }
