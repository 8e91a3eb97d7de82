package secure

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"golang.org/x/crypto/chacha20poly1305"
)

// suite is what a cipher suite says of records.
type suite struct {
	key, iv int // their lengths in bytes
	hash    func() hash.Hash
	cipher  func(key []byte) (cipher.AEAD, error)
}

// The lengths of a write IV: the rest of the nonce is in the record (RFC 5288 §3, RFC 6655 §3), or the IV is as long as the nonce
// and has the record's number in it (RFC 7905 §2).
const (
	nonceSize    = 12
	explicitSize = 8
	shortIV      = nonceSize - explicitSize
)

var (
	gcm128 = suite{16, shortIV, sha256.New, newGCM}
	gcm256 = suite{32, shortIV, sha512.New384, newGCM}
	chacha = suite{chacha20poly1305.KeySize, nonceSize, sha256.New, chacha20poly1305.New}
	ccm16  = suite{16, shortIV, sha256.New, newCCM(16)}
	ccm8   = suite{16, shortIV, sha256.New, newCCM(8)}
)

// protections are what each of suites does to records.
var protections = map[dtls.CipherSuiteID]suite{
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: gcm128, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: gcm128,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: gcm256, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: gcm256,
	dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: chacha, dtls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: chacha,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM: ccm16, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8: ccm8,
	dtls.TLS_PSK_WITH_AES_128_GCM_SHA256: gcm128, dtls.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256: chacha,
	dtls.TLS_PSK_WITH_AES_128_CCM: ccm16, dtls.TLS_PSK_WITH_AES_128_CCM_8: ccm8,
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func newCCM(tag int) func([]byte) (cipher.AEAD, error) {
	return func(key []byte) (cipher.AEAD, error) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return ccm.NewCCM(block, tag, nonceSize)
	}
}

// agreed is what the handshake agreed upon.
type agreed struct {
	suite                      dtls.CipherSuiteID
	clientRandom, serverRandom []byte
	master                     []byte
	cid                        []byte // that the peer was given; nil: none
}

var errNothingAgreed = errors.New("the handshake ended without a secret")

// directions derives what protects records from the peer, and to it.
func (a *agreed) directions() (in, out direction, err error) {
	s, ok := protections[a.suite]
	if !ok || len(a.master) == 0 {
		return in, out, errNothingAgreed
	}
	keys, err := prf.GenerateEncryptionKeys(a.master, a.clientRandom, a.serverRandom, 0, s.key, s.iv, s.hash)
	if err != nil {
		return in, out, err
	}
	if in.aead, err = s.cipher(keys.ClientWriteKey); err != nil {
		return in, out, err
	}
	if out.aead, err = s.cipher(keys.ServerWriteKey); err != nil {
		return in, out, err
	}
	in.iv, in.cid, out.iv = keys.ClientWriteIV, a.cid, keys.ServerWriteIV
	return in, out, nil
}
