//go:build !unix

package doctor

// openFileLimit is how many files this process may have open.
func openFileLimit() (limit uint64, known bool) { return 0, false }
