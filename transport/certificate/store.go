package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// Store serves the certificates of a folder, or of one file. Safe for concurrent use.
type Store struct {
	path    string
	log     *slog.Logger
	metrics *Metrics

	// held and complaint are Open's and then Run's alone.
	held      []held
	complaint string // the last that was logged

	served atomic.Pointer[served]
}

// held is a certificate as it was last read from its files.
type held struct {
	pair
	stamps      [2]stamp
	certificate *tls.Certificate
}

// served are certificates by the names they are for.
type served struct {
	byName map[string][]*tls.Certificate // "*.example.org" is a name too
	first  *tls.Certificate              // for all other names, and for none
}

// Open reads the certificates at path: a folder's *.pem (chain and key) and *.crt with the *.key of
// the same name, or one such file. An error names the file.
func Open(path string, m *Metrics, log *slog.Logger) (*Store, error) {
	s := &Store{path: path, metrics: m, log: log}
	pairs, err := find(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	for _, p := range pairs {
		h, err := read(p)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		s.held = append(s.held, h)
	}
	s.serve()
	return s, nil
}

// read reads p. The stamps are taken first: what is written meanwhile is read again.
func read(p pair) (h held, err error) {
	h = held{pair: p, stamps: p.stamps()}
	h.certificate, err = p.load()
	return h, err
}

// Run looks at the files every so often and serves what they hold from then on; connections made
// before stay as they are. A file that cannot be read leaves what was read from it before in
// place, and says so in the log and the metrics. It returns when ctx ends.
func (s *Store) Run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.refresh()
		case <-ctx.Done():
			return
		}
	}
}

// refresh reads again what was written since.
func (s *Store) refresh() {
	pairs, err := find(s.path)
	if err != nil {
		s.complain(err)
		return
	}
	before := make(map[pair]held, len(s.held))
	for _, h := range s.held {
		before[h.pair] = h
	}
	var now []held
	var wrong []error
	changed := len(pairs) != len(s.held)
	for _, p := range pairs {
		old, known := before[p]
		if known && p.stamps() == old.stamps {
			now = append(now, old)
			continue
		}
		h, err := read(p)
		switch {
		case err == nil:
			now, changed = append(now, h), true
		case known:
			now = append(now, old) // with its old stamps, so that it is tried again
			fallthrough
		default:
			wrong = append(wrong, err)
		}
	}
	s.complain(errors.Join(wrong...))
	if len(now) == 0 || !changed {
		return
	}
	s.held = now
	s.serve()
	s.metrics.reloads.Inc()
	s.log.Info("certificates read again", slog.String("path", s.path), slog.Int("certificates", len(now)))
}

// complain says what is wrong, once; nil ends it.
func (s *Store) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.complaint {
		s.log.Error("certificates cannot be read; those read before stay", slog.String("path", s.path), slog.Any("err", err))
	}
	s.complaint = text
	s.metrics.setBroken(err != nil)
}

// serve makes what is held what is served.
func (s *Store) serve() {
	next := &served{byName: map[string][]*tls.Certificate{}, first: s.held[0].certificate}
	expiry := next.first.Leaf.NotAfter
	for _, h := range s.held {
		for _, name := range names(h.certificate.Leaf) {
			next.byName[name] = append(next.byName[name], h.certificate)
		}
		if at := h.certificate.Leaf.NotAfter; at.Before(expiry) {
			expiry = at
		}
	}
	s.served.Store(next)
	s.metrics.expiry.Set(float64(expiry.Unix()))
}

// names are what a certificate is for: an address is asked for by no name.
func names(leaf *x509.Certificate) []string {
	list := leaf.DNSNames
	if len(list) == 0 && leaf.Subject.CommonName != "" {
		list = []string{leaf.Subject.CommonName}
	}
	lower := make([]string, len(list))
	for i, name := range list {
		lower[i] = strings.ToLower(name)
	}
	return lower
}

// Config returns how to serve TLS: 1.2 or newer, with suites that authenticate what they encrypt
// and keys that are made for the connection.
func (s *Store) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all of this kind
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: s.pick,
	}
}

// pick chooses by the name the client asked for; of several for one name, the first that the client can use.
func (s *Store) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := s.served.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	candidates := now.byName[name]
	if _, parent, ok := strings.Cut(name, "."); ok && len(candidates) == 0 {
		candidates = now.byName["*."+parent]
	}
	for _, c := range candidates {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	if len(candidates) > 0 {
		return candidates[0], nil // the handshake says what is not supported
	}
	return now.first, nil
}
