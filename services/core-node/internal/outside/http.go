package outside

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Certificates are what a TLS connection is made with, in PEM. All may be empty: the system's authorities, no certificate of
// our own.
type Certificates struct {
	Authorities, Certificate, Key string
}

// TLS returns a configuration of TLS 1.2 or later. The error names the part that is wrong.
func (c Certificates) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.Authorities != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(c.Authorities)) {
			return nil, errors.New("caCert: there is no certificate in it")
		}
	}
	if c.Certificate == "" && c.Key == "" {
		return config, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.Key))
	if err != nil {
		return nil, fmt.Errorf("cert, privateKey: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// HTTPKey is all that an HTTP client is configured by.
type HTTPKey struct {
	Tenant       ident.TenantID
	Certificates Certificates
	// Node and Parallel: the client is that node's alone and has at most so many requests under way; zero for no such bound.
	Node     ident.ID
	Parallel int
}

// HTTPClient makes requests. It follows no redirects: where to, the chain says, and nobody else.
type HTTPClient struct {
	http.Client
	// Slots bounds the requests under way, if it is not nil: put something in before, take it out after.
	Slots chan struct{}

	transport *http.Transport
}

// Close closes the client's idle connections.
func (c *HTTPClient) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// NewHTTPClient returns a client for key whose connections go through o.
func (o *Outside) NewHTTPClient(key HTTPKey) (*HTTPClient, error) {
	config, err := key.Certificates.TLS()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: o.Dial, TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: o.settings.DialTimeout,
		MaxConnsPerHost: o.settings.PerHost, MaxIdleConnsPerHost: o.settings.PerHost, MaxIdleConns: 4 * o.settings.PerHost,
		IdleConnTimeout: o.settings.Idle, ExpectContinueTimeout: time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	c := &HTTPClient{transport: transport}
	c.Transport = transport
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if key.Parallel > 0 {
		c.Slots = make(chan struct{}, key.Parallel)
	}
	return c, nil
}
