package standalone

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/sluice-iot/sluice/process"
)

// SocketName is the name of the admin socket in the data folder.
const SocketName = "admin.sock"

// Serve runs the platform as a process: logs go to log, operators are answered, and beside the
// platform runs what with makes once everything is bound, stopped before it.
func (c Config) Serve(ctx context.Context, log io.Writer, with func(*Platform, process.Env) (process.Runner, error)) error {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	c.Process.Admin.Socket = filepath.Join(c.Data, SocketName)
	return process.Serve(ctx, c.Process, log, func(ctx context.Context, env process.Env) (process.Runner, error) {
		platform, err := New(ctx, c, env)
		if err != nil {
			return nil, err
		}
		debug.FreeOSMemory() // a start leaves garbage, such as what hashing a password takes, that an idle process would keep for long
		beside, err := with(platform, env)
		if err != nil {
			return nil, platform.abandon(ctx, err)
		}
		return process.Sequence(platform, beside), nil
	})
}
