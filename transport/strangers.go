package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport/limit"
)

// strangers holds addresses to a rate of wrong credentials. One above it is refused what is not known to be right, without a core node being
// asked; what proved right before is let through to be asked about, so that a device is not locked out by another one at its address.
type strangers struct {
	rate    limit.Rate // none: addresses are not looked at
	key     [32]byte   // of this process: what is remembered is of no use to who reads it
	wrong   *recent[netip.Addr, *limit.Bucket]
	proved  *recent[[32]byte, struct{}]
	refused prometheus.Counter
}

func newStrangers(c *Config, refused prometheus.Counter) (*strangers, error) {
	rate, err := limit.Parse(c.WrongCredentials)
	if err != nil {
		return nil, fmt.Errorf("wrong-credentials: %w", err)
	}
	s := &strangers{
		rate: rate, refused: refused,
		wrong: newRecent[netip.Addr, *limit.Bucket](c.WrongAddresses, nil), proved: newRecent[[32]byte, struct{}](c.CredentialsProved, nil),
	}
	rand.Read(s.key[:])
	return s, nil
}

// place is what an address counts as: of IPv6 whoever has one has all with its first 64 bits.
func (s *strangers) place(from netip.Addr) (netip.Addr, bool) {
	if len(s.rate) == 0 || !from.IsValid() {
		return from, false
	}
	from = from.Unmap().WithZone("")
	if from.Is6() {
		network, err := from.Prefix(64)
		return network.Addr(), err == nil
	}
	return from, true
}

// mayAsk reports whether an address may try something.
func (s *strangers) mayAsk(from netip.Addr) bool {
	from, counts := s.place(from)
	if !counts {
		return true
	}
	bucket, found := s.wrong.get(from)
	if !found || bucket.Has(time.Now(), 1) {
		return true
	}
	s.refused.Inc()
	return false
}

// failed notes something wrong from an address.
func (s *strangers) failed(from netip.Addr) {
	from, counts := s.place(from)
	if !counts {
		return
	}
	now := time.Now()
	bucket, found := s.wrong.get(from)
	if !found {
		bucket = s.wrong.putIfAbsent(from, limit.New(s.rate, now))
	}
	bucket.Take(now, 1)
}

// hash is what proved credentials are remembered by.
func (s *strangers) hash(c *Credentials) [32]byte {
	mac := hmac.New(sha256.New, s.key[:])
	// What cannot be encoded is never right.
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(c.request())
	mac.Write(text)
	return [32]byte(mac.Sum(nil))
}

// mayCheck reports whether the core is to be asked about c.
func (s *strangers) mayCheck(c *Credentials) bool {
	if c.isChild() || len(s.rate) == 0 || !c.From.IsValid() {
		return true
	}
	if _, known := s.proved.get(s.hash(c)); known {
		return true
	}
	return s.mayAsk(c.From)
}

// judged notes what the core said of c.
func (s *strangers) judged(c *Credentials, err error) {
	if c.isChild() || len(s.rate) == 0 {
		return
	}
	switch {
	case err == nil:
		s.proved.put(s.hash(c), struct{}{})
	case fault.KindOf(err) == fault.Unauthenticated:
		s.proved.remove(s.hash(c))
		s.failed(c.From)
	}
}
