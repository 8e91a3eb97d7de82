// Package password hashes people's passwords with argon2id and checks them, a few at a time:
// each takes 19 MiB and tens of milliseconds by design, so that guessing is dear, and the
// bound keeps those who guess from taking the machine with them.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/sluice-iot/sluice/proto/fault"
)

// cost is how dear one hash is.
type cost struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// standard is the cost of people's passwords.
var standard = cost{memory: 19 << 10, passes: 2, lanes: 1}

// published is the cost of passwords that everybody knows, such as those of the demo accounts:
// a dear hash would protect nothing, and start-up would wait for it.
var published = cost{memory: 64, passes: 1, lanes: 1}

const (
	saltBytes = 16
	keyBytes  = 32
	// maxCost… keep a damaged hash from asking for all memory there is.
	maxCostMemory = 1 << 20
	maxCostPasses = 16
)

// ErrHash: the stored hash cannot be read.
var ErrHash = errors.New("password: malformed hash")

// Hasher hashes and verifies. Safe for concurrent use.
type Hasher struct {
	running chan struct{}
	waiting chan struct{}
}

// NewHasher returns a Hasher that works on parallel passwords at a time and lets queue more wait.
func NewHasher(parallel, queue int) *Hasher {
	return &Hasher{running: make(chan struct{}, parallel), waiting: make(chan struct{}, parallel+queue)}
}

// Hash returns the hash of password, with the salt and the cost in it, in the PHC string format.
// fault.Limited when too many are waiting.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return hash(password, standard), nil
}

// HashPublished hashes a password that is no secret: cheaply, and without waiting.
func HashPublished(password string) string { return hash(password, published) }

// Verify reports whether password is the one hash was made of. Errors: fault.Limited when too
// many are waiting, ErrHash, and that of ctx.
func (h *Hasher) Verify(ctx context.Context, password, hash string) (bool, error) {
	c, salt, want, err := parse(hash)
	if err != nil {
		return false, err
	}
	release, err := h.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	got := argon2.IDKey([]byte(password), salt, c.passes, c.memory, c.lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// VerifyNobody takes as long as Verify for somebody who does not exist, so that the time does
// not tell who does.
func (h *Hasher) VerifyNobody(ctx context.Context, password string) error {
	release, err := h.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	argon2.IDKey([]byte(password), make([]byte, saltBytes), standard.passes, standard.memory, standard.lanes, keyBytes)
	return nil
}

func (h *Hasher) acquire(ctx context.Context) (release func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, fault.New(fault.Limited, "Too many passwords to check at the moment")
	}
	select {
	case h.running <- struct{}{}:
		return func() { <-h.running; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, fmt.Errorf("wait to check a password: %w", ctx.Err())
	}
}

func hash(password string, c cost) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails (crypto/rand)
	key := argon2.IDKey([]byte(password), salt, c.passes, c.memory, c.lanes, keyBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.passes, c.lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// parse reads the PHC string format as hash writes it.
func parse(text string) (c cost, salt, key []byte, err error) {
	fields := strings.Split(text, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, ErrHash
	}
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.lanes); err != nil {
		return c, nil, nil, fmt.Errorf("%w: cost: %w", ErrHash, err)
	}
	if c.memory > maxCostMemory || c.passes < 1 || c.passes > maxCostPasses || c.lanes < 1 {
		return c, nil, nil, fmt.Errorf("%w: cost out of range", ErrHash)
	}
	if salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil {
		return c, nil, nil, fmt.Errorf("%w: salt: %w", ErrHash, err)
	}
	if key, err = base64.RawStdEncoding.DecodeString(fields[5]); err != nil || len(key) != keyBytes {
		return c, nil, nil, fmt.Errorf("%w: key", ErrHash)
	}
	return c, salt, key, nil
}
