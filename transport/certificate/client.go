package certificate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// longestChain bounds the signatures that a client can have checked.
const longestChain = 10

// What may be wrong with a client's certificates, whoever it is.
var (
	ErrNotYetValid = errors.New("the certificate is not valid yet")
	ErrExpired     = errors.New("the certificate has expired")
	ErrUsage       = errors.New("the certificate is not for clients")
	ErrChain       = errors.New("a certificate of the chain is not signed by the next")
)

// CheckClient checks the certificates a client showed, the leaf first: that the leaf is valid now and may be a client's, and that
// each is signed by the next, which must be an authority's. No authority need be known: who the client is, is looked up.
func CheckClient(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 || len(chain) > longestChain {
		return fmt.Errorf("%w: %d certificates", ErrChain, len(chain))
	}
	leaf := chain[0]
	switch {
	case now.Before(leaf.NotBefore):
		return ErrNotYetValid
	case now.After(leaf.NotAfter):
		return ErrExpired
	case !forClients(leaf):
		return ErrUsage
	}
	for i, issuer := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("%w: %w", ErrChain, err)
		}
	}
	return nil
}

// forClients reports whether a certificate may be a client's: one that says nothing of its usage may.
func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}
