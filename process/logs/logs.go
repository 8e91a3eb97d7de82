// Package logs sets up a program's slog logger.
package logs

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Config is how a program logs.
type Config struct {
	Level  string `name:"log-level" default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: debug, info, warn or error."`
	Format string `name:"log-format" default:"auto" enum:"auto,text,json" help:"Form of log lines: text, json, or auto: text on a terminal, else json."`
}

// New returns a logger that writes to w as c says.
func New(c Config, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || c.Format != "json" && IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return slog.New(slog.NewJSONHandler(w, options)), nil
}

// IsTerminal reports whether w is a terminal, or another character device.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
