package standalone

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lock makes the data folder and takes it for this process: two in one folder would lose what
// both acknowledged. The lock ends with the process, however it ends.
func lock(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	held, err := vfs.Default.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("data folder %s is in use by another process: %w", dir, err)
	}
	return held, nil
}
