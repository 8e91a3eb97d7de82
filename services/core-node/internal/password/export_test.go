package password

import "context"

// Occupy takes a place among those running until release is called.
func (h *Hasher) Occupy() (release func()) {
	release, err := h.acquire(context.Background())
	if err != nil {
		return func() {}
	}
	return release
}

// Check reports whether hash can be read.
func Check(hash string) error {
	_, _, _, err := parse(hash)
	return err
}
