//go:build compose

package deploy

import (
	"bytes"
	"crypto/tls"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// initialise copies deploy/ and runs its init there.
func initialise(t *testing.T) (compose string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	compose = filepath.Join(dir, "compose")
	runInit(t, compose)
	return compose
}

func runInit(t *testing.T, compose string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "./init")
	command.Dir = compose
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("init: %v %s", err, out)
	}
}

// written reads all that init wrote.
func written(t *testing.T, compose string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, root := range []string{"secrets", ".env"} {
		err := filepath.WalkDir(filepath.Join(compose, root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			files[strings.TrimPrefix(path, compose)] = text
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestInit: no two installations share a secret, a second run changes nothing, and other users of the host see none.
func TestInit(t *testing.T) {
	one, other := initialise(t), initialise(t)
	first, second := written(t, one), written(t, other)
	for name, text := range first {
		if strings.HasSuffix(name, ".env") || strings.HasSuffix(name, "cassandra_password") {
			continue
		}
		if len(text) < 32 || bytes.Equal(text, second[name]) {
			t.Errorf("%s is the same, or short, on two installations: %d bytes", name, len(text))
		}
	}
	runInit(t, one)
	for name, text := range written(t, one) {
		if !bytes.Equal(text, first[name]) {
			t.Errorf("the second run changed %s", name)
		}
	}
	info, err := os.Stat(filepath.Join(one, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("secrets/ is %v", info.Mode())
	}
	pem := filepath.Join(one, "secrets", "certificates", "default.pem")
	if _, err := tls.LoadX509KeyPair(pem, pem); err != nil {
		t.Errorf("the first certificate: %v", err)
	}
}

// TestHAProxyTakesItsConfiguration: without a warning, by the oldest version we promise, with what init wrote.
func TestHAProxyTakesItsConfiguration(t *testing.T) {
	compose := initialise(t)
	path := filepath.Join(compose, "..", "haproxy", "haproxy.cfg")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(string(text), "crt /certs/", "crt "+filepath.Join(compose, "secrets", "certificates")+"/")
	if here == string(text) {
		t.Fatal("the configuration names no certificates")
	}
	if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(t.Context(), "SLUICE_IMAGE=sluice:test")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "haproxy", "-c", "-dW", "-f", filepath.Join(compose, "secrets", "haproxy_operators"), "-f", path)
	command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	for name, value := range p.Services["haproxy"].Environment {
		command.Env = append(command.Env, name+"="+*value)
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
}
