package entity

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
)

// maxCertificate is how many characters the text of a certificate may have.
const maxCertificate = 16 << 10

const (
	armourBegin = "-----BEGIN CERTIFICATE-----"
	armourEnd   = "-----END CERTIFICATE-----"
)

// CertificateText is a certificate as credentials keep it: base64 of the DER, without armour or newlines.
func CertificateText(der []byte) string { return base64.StdEncoding.EncodeToString(der) }

// CertificateID is the credentials id of a certificate (device-api §1.2, H).
func CertificateID(der []byte) string { return digest(CertificateText(der)) }

// ParseCertificate reads a certificate's text, with its armour or without it, and returns the DER. Of several in armour
// the first counts.
func ParseCertificate(text string) ([]byte, error) {
	if len(text) > maxCertificate {
		return nil, errors.New("it is longer than 16 KiB")
	}
	if _, after, armoured := strings.Cut(text, armourBegin); armoured {
		text, _, _ = strings.Cut(after, armourEnd)
	}
	text = strings.Map(func(c rune) rune {
		if strings.ContainsRune(" \t\r\n", c) {
			return -1
		}
		return c
	}, text)
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return der, nil
}
