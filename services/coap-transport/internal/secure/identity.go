package secure

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

// suites are those that authenticate what they encrypt. Those with CCM, of eight bytes of proof too, are what constrained devices
// have (RFC 7252 §9.1.3).
var suites = []dtls.CipherSuiteID{
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, dtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
	dtls.TLS_PSK_WITH_AES_128_GCM_SHA256, dtls.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
	dtls.TLS_PSK_WITH_AES_128_CCM, dtls.TLS_PSK_WITH_AES_128_CCM_8,
}

// keyOnly are the suites of a server without certificates.
var keyOnly = suites[8:]

// handshakeBytes is the longest message of a handshake (device-api §4.3).
const handshakeBytes = 1024

// options are what the connection is made with.
func (one *session) options() []dtls.ServerOption {
	options := []dtls.ServerOption{
		dtls.WithPSK(one.sharedKey),
		dtls.WithConnectionIDGenerator(func() []byte { return one.of.newCID(one) }),
		dtls.WithMTU(handshakeBytes),
		dtls.WithLoggerFactory(quiet),
		dtls.WithKeyLogWriter(&one.records), // which logs nothing
		dtls.WithServerHelloMessageHook(one.records.hello),
	}
	store := one.of.Certificates
	if store == nil {
		return append(options, dtls.WithCipherSuites(keyOnly...))
	}
	pick := store.Config().GetCertificate
	return append(options,
		dtls.WithCipherSuites(suites...),
		dtls.WithClientAuth(dtls.RequestClientCert),
		dtls.WithVerifyPeerCertificate(one.checkCertificates),
		dtls.WithGetCertificate(func(hello *dtls.ClientHelloInfo) (*tls.Certificate, error) {
			return pick(&tls.ClientHelloInfo{ServerName: hello.ServerName, SupportedVersions: []uint16{tls.VersionTLS12}})
		}),
	)
}

// quiet keeps the library from logging what strangers do.
var quiet = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}

// sharedKey finds the key of who the peer says it is. Of nobody it is a random one, so that the handshake ends as with a
// wrong key (RFC 4279 §2).
func (one *session) sharedKey(identity []byte) ([]byte, error) {
	one.claimed = true
	ctx, cancel := context.WithTimeout(one.ctx, one.of.HandshakeTimeout)
	defer cancel()
	key, credentials, err := one.of.Keys.SharedKey(ctx, string(identity))
	if err != nil {
		key = make([]byte, 32)
		rand.Read(key)
		return key, nil
	}
	one.key = credentials
	return key, nil
}

var (
	errExpired = errors.New("the certificate is not valid now")
	errChain   = errors.New("a certificate is not signed by the next")
)

// checkCertificates refuses what no device is known by: a leaf that is not valid now, a chain that is none. That the peer has
// the leaf's key was checked before. Who issued it does not matter: the platform knows the leaf, or the one above it.
func (one *session) checkCertificates(raw [][]byte, _ [][]*x509.Certificate) error {
	one.claimed = true
	chain := make([]*x509.Certificate, len(raw))
	for i, der := range raw {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	if now := time.Now(); len(chain) > 0 && (now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter)) {
		return errExpired
	}
	for i := range max(len(chain)-1, 0) {
		c := chain[i]
		if err := chain[i+1].CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
			return errors.Join(errChain, err)
		}
	}
	return nil
}
