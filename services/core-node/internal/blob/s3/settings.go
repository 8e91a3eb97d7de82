package s3

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"time"
)

// Settings are what operators set of the bucket.
type Settings struct {
	Bucket   string        `name:"blob-s3-bucket" help:"S3 bucket that holds the data of OTA packages, in place of a folder; all core nodes share it. Empty: none." default:""`
	Endpoint string        `name:"blob-s3-endpoint" help:"Where S3 is, https://host:port; http:// at loopback and private addresses only. Empty: AWS, in the region." default:""`
	Region   string        `name:"blob-s3-region" help:"Region of the bucket, which requests are signed for." default:"us-east-1"`
	Prefix   string        `name:"blob-s3-prefix" help:"What the names of all objects begin with, ending with a slash." default:"sluice/"`
	KeyID    string        `name:"blob-s3-key-id" help:"Id of the access key for the bucket." default:""`
	Secret   string        `name:"blob-s3-secret" help:"The access key's secret. Secret." default:""`
	Timeout  time.Duration `name:"blob-s3-timeout" help:"Longest time one request to S3 may take, with at most 8 MiB of data; it is made up to three times." default:"30s"`
}

var (
	buckets  = regexp.MustCompile(`^[0-9a-z][0-9a-z.-]{1,61}[0-9a-z]$`)
	regions  = regexp.MustCompile(`^[0-9a-z-]{1,64}$`)
	prefixes = regexp.MustCompile(`^([0-9A-Za-z][0-9A-Za-z._-]{0,63}/){0,8}$`)
)

// Validate names the setting that is wrong, or that means nothing without a bucket.
func (s Settings) Validate() error {
	if s.Bucket == "" {
		for name, value := range map[string]string{"blob-s3-endpoint": s.Endpoint, "blob-s3-key-id": s.KeyID, "blob-s3-secret": s.Secret} {
			if value != "" {
				return fmt.Errorf("--%s: is set, and --blob-s3-bucket is not", name)
			}
		}
		return nil
	}
	switch {
	case !buckets.MatchString(s.Bucket):
		return fmt.Errorf("--blob-s3-bucket: %q is not the name of a bucket", s.Bucket)
	case !regions.MatchString(s.Region):
		return fmt.Errorf("--blob-s3-region: %q is not a region", s.Region)
	case !prefixes.MatchString(s.Prefix):
		return fmt.Errorf("--blob-s3-prefix: %q: letters, digits, dots, dashes and underscores, each folder with a slash at its end", s.Prefix)
	case s.KeyID == "":
		return errors.New("--blob-s3-key-id: the bucket needs an access key")
	case s.Secret == "":
		return errors.New("--blob-s3-secret: the access key has none")
	case s.Timeout <= 0:
		return fmt.Errorf("--blob-s3-timeout: %s is not a positive time", s.Timeout)
	}
	_, err := s.address()
	return err
}

// address is where S3 is.
func (s Settings) address() (*url.URL, error) {
	if s.Endpoint == "" {
		return &url.URL{Scheme: "https", Host: "s3." + s.Region + ".amazonaws.com"}, nil
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("--blob-s3-endpoint: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("--blob-s3-endpoint: %q is not of the form https://host:port", u.Redacted())
	}
	// A name is judged when it is dialled.
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && u.Scheme == "http" && !near(ip) {
		return nil, errPublic
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// errPublic refuses to send data over the internet for all to read and to alter.
var errPublic = errors.New("--blob-s3-endpoint: http:// leads to a public address; it needs https://")

// near reports whether an address is of this machine or of a network of the operator's own.
func near(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
}
