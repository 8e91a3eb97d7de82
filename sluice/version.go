package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/sluice-iot/sluice/process"
)

// version is `sluice version`.
type version struct{}

// Run prints the version on one line.
func (*version) Run(_ context.Context, inv process.Invocation) error {
	_, err := fmt.Fprintf(inv.Stdout, "sluice %s %s %s/%s\n", revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// revision is the commit the binary was built from, as far as the build recorded it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	found, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			found = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if found == "" {
		return info.Main.Version
	}
	return found + changed
}
