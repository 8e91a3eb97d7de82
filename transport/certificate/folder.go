// Package certificate holds the certificates that TLS is served with, read from files and read
// again when those change.
package certificate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The names of files that are looked at. A .pem file holds the chain and its key.
const (
	bundleSuffix = ".pem"
	chainSuffix  = ".crt"
	keySuffix    = ".key"
	// defaultName is the file whose certificate is served to clients that name no other.
	defaultName = "default"
)

// pair is the files that one certificate is read from; both are the same when it is a bundle.
type pair struct{ chain, key string }

// find lists the certificates at path, which is a folder or one file; the default one first, the others by name.
func find(path string) ([]pair, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []pair{pairOf(path)}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for _, e := range entries {
		suffix := filepath.Ext(e.Name())
		if strings.HasPrefix(e.Name(), ".") || suffix != bundleSuffix && suffix != chainSuffix {
			continue
		}
		pairs = append(pairs, pairOf(filepath.Join(path, e.Name())))
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("%s: no *%s, no *%s with its *%s", path, bundleSuffix, chainSuffix, keySuffix)
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		switch {
		case a.isDefault() == b.isDefault():
			return strings.Compare(a.chain, b.chain)
		case a.isDefault():
			return -1
		}
		return 1
	})
	return pairs, nil
}

func pairOf(path string) pair {
	if base, ok := strings.CutSuffix(path, chainSuffix); ok {
		return pair{path, base + keySuffix}
	}
	return pair{path, path}
}

func (p pair) isDefault() bool {
	base := filepath.Base(p.chain)
	return strings.TrimSuffix(base, filepath.Ext(base)) == defaultName
}

// load reads the certificate. Its error names the file.
func (p pair) load() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(p.chain, p.key)
	if err != nil {
		var file *fs.PathError
		if errors.As(err, &file) {
			return nil, err // it says which
		}
		return nil, fmt.Errorf("%s: %w", p.chain, err)
	}
	return &c, nil
}

// stamp tells whether files were written since: a link to others, as mounted secrets have, too.
type stamp struct {
	size    int64
	written time.Time
}

func (p pair) stamps() (both [2]stamp) {
	for i, path := range []string{p.chain, p.key} {
		if info, err := os.Stat(path); err == nil {
			both[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return both
}
