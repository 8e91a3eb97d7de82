//go:build fleet

package cassandra

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestInstall is killed before each of its steps, and goes on where it was; what is half installed is refused.
func TestInstall(t *testing.T) {
	o := underTest(fmt.Sprintf("sluice_install_%d", os.Getpid())).withDefaults()
	t.Cleanup(func() {
		if err := drop(context.Background(), o); err != nil {
			t.Error(err)
		}
	})
	refuses := func(with string) {
		t.Helper()
		s, err := Open(t.Context(), o)
		if err == nil {
			t.Fatal("opened", s.Close())
		}
		if !strings.Contains(err.Error(), with) || !strings.Contains(err.Error(), o.Keyspace) {
			t.Errorf("%v does not say %q", err, with)
		}
	}
	refuses("run `sluice install`")
	for at := 1; ; at++ {
		steps := 0
		err := install(t.Context(), o, func() error {
			if steps++; steps >= at {
				return errKilled
			}
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if at > 2*(len(schema[1])+len(schema[2])) {
			t.Fatal("it does not end")
		}
	}
	for range 2 {
		if err := Install(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), oneWrite()); err != nil {
		t.Error(err)
	}
	setVersion := func(version int) {
		if err := s.session().Query("UPDATE schema_version SET version = ? WHERE id = 1", version).ExecContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	setVersion(Version + 1)
	refuses("newer than this program's")
	if err := Install(t.Context(), o); !errors.Is(err, errVersions) {
		t.Errorf("a newer keyspace is installed over: %v", err)
	}
	setVersion(0)
	refuses("older than this program's")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
