package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-iot/sluice/transport/certificate/certificatetest"
)

func open(t *testing.T, path string, log io.Writer) *Store {
	t.Helper()
	m, err := NewMetrics(prometheus.NewRegistry(), "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, m, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake shakes hands with s over a pipe.
func shake(t *testing.T, s *Store, c *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		defer far.Close()
		_ = tls.Server(far, s.Config()).Handshake() // the client's error tells
	})
	c.InsecureSkipVerify = true
	client := tls.Client(near, c)
	err := client.Handshake()
	if err == nil {
		_ = client.CloseWrite() // the server has ended by now
	}
	return client.ConnectionState(), err
}

func expectServed(t *testing.T, s *Store, name string, serial int64) {
	t.Helper()
	state, err := shake(t, s, &tls.Config{ServerName: name})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if got := state.PeerCertificates[0].SerialNumber.Int64(); got != serial {
		t.Errorf("%s: certificate %d, want %d", name, got, serial)
	}
}

func TestTheNameChooses(t *testing.T) {
	folder := t.TempDir()
	certificatetest.Write(t, folder, "a.pem", 1, "a.example.org", "also-a.example.org")
	certificatetest.Write(t, folder, "default.pem", 2, "default.example.org")
	chain, key := certificatetest.Make(t, 3, "*.wild.example.org")
	for name, content := range map[string][]byte{"wild.crt": chain, "wild.key": key, "notes.txt": {}, ".hidden.pem": {}} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, folder, io.Discard)
	for name, serial := range map[string]int64{
		"a.example.org": 1, "ALSO-A.example.org": 1, "default.example.org": 2, "unknown.example.org": 2, "": 2,
		"x.wild.example.org": 3, "x.y.wild.example.org": 2,
	} {
		expectServed(t, s, name, serial)
	}
	single := open(t, filepath.Join(folder, "wild.crt"), io.Discard)
	expectServed(t, single, "whoever", 3)
}

func TestOnlyWhatIsSafeIsSpoken(t *testing.T) {
	folder := t.TempDir()
	certificatetest.Write(t, folder, "default.pem", 1, "localhost")
	s := open(t, folder, io.Discard)
	for name, c := range map[string]*tls.Config{
		"TLS 1.1":      {MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		"CBC":          {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"key exchange": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
	} {
		if _, err := shake(t, s, c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		state, err := shake(t, s, &tls.Config{MinVersion: version, MaxVersion: version})
		if err != nil || state.Version != version {
			t.Errorf("%x: %x, %v", version, state.Version, err)
		}
	}
}

func TestWhatCannotBeReadStopsTheStart(t *testing.T) {
	folder := t.TempDir()
	chain, key := certificatetest.Make(t, 1, "a")
	other, _ := certificatetest.Make(t, 2, "a")
	for name, content := range map[string][]byte{
		"empty.pem": {}, "keyless.crt": chain, "mixed.crt": other, "mixed.key": key, "half.pem": chain,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := NewMetrics(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	for path, named := range map[string]string{
		"empty.pem": "empty.pem", "keyless.crt": "keyless.key", "mixed.crt": "mixed.crt", "half.pem": "half.pem",
		"missing": "missing", "": folder,
	} {
		if _, err := Open(filepath.Join(folder, path), m, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("%q: error %v", path, err)
		}
	}
	if _, err := Open(t.TempDir(), m, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an empty folder is accepted")
	}
}

// TestReload: files are replaced, added, broken, mended and removed while the store runs.
func TestReload(t *testing.T) {
	folder := t.TempDir()
	certificatetest.Write(t, folder, "a.pem", 1, "a")
	b := certificatetest.Write(t, folder, "b.pem", 2, "b")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := open(t, folder, &log)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.Run(ctx, time.Second)
		tick := func() {
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
		}
		expect := func(a, b, broken float64) {
			t.Helper()
			expectServed(t, s, "a", int64(a))
			expectServed(t, s, "b", int64(b))
			if got := testutil.ToFloat64(s.metrics.broken); got != broken {
				t.Errorf("broken is %v, want %v", got, broken)
			}
		}
		expect(1, 2, 0)
		certificatetest.Write(t, folder, "a.pem", 10, "a")
		certificatetest.Write(t, folder, "c.pem", 30, "c")
		tick()
		expect(10, 2, 0)
		expectServed(t, s, "c", 30)
		if err := os.WriteFile(b, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		certificatetest.Write(t, folder, "a.pem", 1000, "a", "and-more")
		tick()
		tick()
		expect(1000, 2, 1)
		if said := strings.Count(log.String(), "b.pem"); said != 1 {
			t.Errorf("said %d times:\n%s", said, log.String())
		}
		certificatetest.Write(t, folder, "b.pem", 20, "b", "and-more")
		if err := os.Remove(filepath.Join(folder, "c.pem")); err != nil {
			t.Fatal(err)
		}
		tick()
		expect(1000, 20, 0)
		expectServed(t, s, "c", 1000)
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		tick()
		expect(1000, 20, 1)
	})
}
