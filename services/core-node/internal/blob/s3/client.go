package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	// dialWithin is how long a connection may take to stand, and its TLS as long again.
	dialWithin = 5 * time.Second
	// idle is how long a connection is kept for the next request, idleConnections how many are.
	idle            = time.Minute
	idleConnections = 16
	// retries is how often a request that may pass is made again.
	retries = 2
)

// client makes signed requests of one bucket.
type client struct {
	http   *http.Client
	bucket string // its URL, without a slash at the end
	region string
	key    aws.Credentials
	signer *v4.Signer
	// timeout is of one attempt, pause before the first retry; the second comes after four times as long.
	timeout, pause time.Duration
}

func newClient(s Settings, pause time.Duration) (*client, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	at, err := s.address()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialWithin}
	if at.Scheme == "http" {
		dialer.Control = nearOnly
	}
	return &client{
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: dialer.DialContext, TLSHandshakeTimeout: dialWithin, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
				MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idle, MaxResponseHeaderBytes: 64 << 10,
				DisableCompression: true, // ranges are of the data as it is
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the signature is for one host
		},
		bucket: at.String() + "/" + s.Bucket, region: s.Region, key: aws.Credentials{AccessKeyID: s.KeyID, SecretAccessKey: s.Secret},
		signer: v4.NewSigner(), timeout: s.Timeout, pause: pause,
	}, nil
}

// nearOnly lets nothing in the clear leave for the internet, whatever a name leads to.
func nearOnly(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read the address: %w", err)
	}
	if !near(target.Addr()) {
		return errPublic
	}
	return nil
}

// request is what may be made several times over: all that we ask of S3 can be. One that begins an upload leaves another behind, which
// is swept.
type request struct {
	method, object string // object "" is the bucket
	query          url.Values
	span           string // bytes asked for, as the header Range has it; "" is all
	body           []byte
	// take reads the answer of a success. What it returns that is no failure is a lost answer. nil: nothing of it matters.
	take func(*http.Response) error
}

// do makes a request until it is answered for good. Errors are failures, or ctx's own.
func (c *client) do(ctx context.Context, r request) error {
	sum := sha256.Sum256(r.body)
	hash := hex.EncodeToString(sum[:])
	pause := c.pause
	for attempt := 0; ; attempt++ {
		err := c.once(ctx, r, hash)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%s %s: %w", r.method, c.place(r), ctx.Err())
		}
		if err == nil || attempt == retries || !mayPass(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; %w", err, ctx.Err())
		case <-time.After(pause/2 + rand.N(pause)): // not all at once
		}
		pause *= 4
	}
}

// place is where a request goes, for errors.
func (c *client) place(r request) string { return c.bucket + "/" + r.object }

// once makes it one time.
func (c *client) once(ctx context.Context, r request, hash string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, r.method, c.bucket, bytes.NewReader(r.body))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	if r.object != "" {
		q.URL.Path += "/" + r.object
	}
	q.URL.RawQuery = r.query.Encode()
	q.Header.Set("User-Agent", "sluice")
	q.Header.Set("X-Amz-Content-Sha256", hash) // S3 refuses data that came to it as other data
	if r.span != "" {
		q.Header.Set("Range", r.span)
	}
	// S3 alone wants the path as it is sent.
	if err := c.signer.SignHTTP(ctx, c.key, q, hash, "s3", c.region, time.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }); err != nil {
		return fmt.Errorf("sign a request: %w", err)
	}
	answer, err := c.http.Do(q)
	if err != nil {
		return lost(err)
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, answer.Body, maxErrorBytes) // so that the connection can be used again
		_ = answer.Body.Close()
	}()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return refusal(answer)
	}
	if r.take == nil {
		return nil
	}
	return r.take(answer)
}
