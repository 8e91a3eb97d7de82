//go:build fleet

package cassandra

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/storagetest"
)

// theKeyspace is what the tests of this run share: making one takes longer than most tests.
var theKeyspace = fmt.Sprintf("sluice_test_%d", os.Getpid())

var installed = sync.OnceValue(func() error { return Install(context.Background(), underTest(theKeyspace)) })

// underTest are the options of a store in the Cassandra under test.
func underTest(keyspace string) Options {
	o := Options{}
	o.Hosts, o.Keyspace = strings.Split(os.Getenv("SLUICE_TEST_CASSANDRA"), ","), keyspace
	return o
}

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_CASSANDRA") == "" {
		fmt.Println("SLUICE_TEST_CASSANDRA is not set: it names the Cassandra to test with, host:port")
		os.Exit(1)
	}
	code := m.Run()
	if err := drop(context.Background(), underTest(theKeyspace)); err != nil {
		fmt.Println("drop keyspace:", err)
		code = 1
	}
	os.Exit(code)
}

// drop removes the keyspace.
func drop(ctx context.Context, o Options) error {
	o = o.withDefaults()
	o.Timeout = schemaTimeout
	session, err := connect(ctx, o, "")
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Query("DROP KEYSPACE IF EXISTS " + o.Keyspace).ExecContext(ctx)
}

func open(t testing.TB, now func() time.Time) *Store {
	t.Helper()
	if err := installed(); err != nil {
		t.Fatal(err)
	}
	o := underTest(theKeyspace)
	o.Now = now
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func backend() storagetest.Backend {
	return storagetest.Backend{
		Open:   func(t *testing.T, now func() time.Time) storage.Store { return open(t, now) },
		Killed: killed,
	}
}

func TestTelemetry(t *testing.T) { storagetest.Telemetry(t, backend()) }

func TestRows(t *testing.T) { storagetest.Rows(t, backend()) }
