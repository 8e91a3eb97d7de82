package transport

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/transport/redis"
)

// verdictStore is where a fleet's transports leave right verdicts for each other. It may lose and
// forget what it likes, and whatever it returns is checked.
type verdictStore interface {
	// Get returns what is kept under name and for how much longer; nil when there is nothing.
	Get(ctx context.Context, name string) (value []byte, left time.Duration, err error)
	// Put keeps value under name for a while.
	Put(ctx context.Context, name string, value []byte) error
}

// sharedVerdicts looks for verdicts in a store and leaves them there. A verdict's name is a keyed hash
// of the credentials and it is sealed under another one, so that neither the store nor who reads it
// learns a secret, and what was altered does not open. A nil *sharedVerdicts finds and keeps nothing.
type sharedVerdicts struct {
	store   verdictStore
	history *history
	key     []byte
	lookups *prometheus.CounterVec
	log     *slog.Logger
}

// look returns what another transport learned about request, if that is still so. Who is deaf, as
// changes may go unheard, cannot tell, and is given nothing.
func (s *sharedVerdicts) look(ctx context.Context, request []byte, deaf bool) (a answer, found bool) {
	if s == nil {
		return a, false
	}
	result := "unready"
	if !deaf {
		a, result = s.find(ctx, request)
	}
	s.lookups.WithLabelValues(result).Inc()
	return a, result == "hit"
}

func (s *sharedVerdicts) find(ctx context.Context, request []byte) (a answer, result string) {
	now := s.history.place()
	if now == nil {
		return a, "unready"
	}
	sealed, left, err := s.store.Get(ctx, s.name(now.life, request))
	switch {
	case errors.Is(err, redis.ErrAway):
		return a, "away"
	case err != nil:
		return a, "error"
	case sealed == nil:
		return a, "miss"
	}
	info, offset, err := s.open(now.life, request, sealed)
	if err != nil {
		s.log.Warn("a verdict in redis cannot be read", slog.Any("err", err))
		return a, "error"
	}
	device, err := ident.FromBytes(info.GetDeviceId())
	if err != nil || left <= 0 || !s.history.holds(ident.DeviceID{ID: device}, place{now.life, offset}) {
		return a, "stale"
	}
	return answer{info: info, left: left}, "hit"
}

// leave keeps a, an answer of the core, for the other transports.
func (s *sharedVerdicts) leave(a answer) {
	if s == nil || a.info == nil || a.place == nil {
		return
	}
	sealed, err := s.seal(*a.place, a.request, a.info)
	if err != nil {
		s.log.Warn("a verdict cannot be sealed", slog.Any("err", err))
		return
	}
	if err := s.store.Put(context.Background(), s.name(a.place.life, a.request), sealed); err != nil {
		s.log.Debug("a verdict could not be left for other transports", slog.Any("err", err))
	}
}

// What a derived key is for.
const (
	forName = 'n'
	forSeal = 's'
)

// derive makes a key out of the fleet's key and the credentials, one for each topic and purpose.
func (s *sharedVerdicts) derive(purpose byte, life [16]byte, request []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte{purpose})
	mac.Write(life[:])
	mac.Write(request)
	return mac.Sum(nil)
}

func (s *sharedVerdicts) name(life [16]byte, request []byte) string {
	return ":c:" + base64.RawURLEncoding.EncodeToString(s.derive(forName, life, request))
}

func (s *sharedVerdicts) cipher(life [16]byte, request []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.derive(forSeal, life, request))
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal is nonce, then sealed: offset, DeviceInfo.
func (s *sharedVerdicts) seal(as place, request []byte, info *sluicepb.DeviceInfo) ([]byte, error) {
	c, err := s.cipher(as.life, request)
	if err != nil {
		return nil, err
	}
	plain, err := proto.MarshalOptions{}.MarshalAppend(binary.BigEndian.AppendUint64(nil, uint64(as.offset)), info)
	if err != nil {
		return nil, fmt.Errorf("encode verdict: %w", err)
	}
	nonce := make([]byte, c.NonceSize(), c.NonceSize()+len(plain)+c.Overhead())
	rand.Read(nonce)
	return c.Seal(nonce, nonce, plain, nil), nil
}

var errSealed = errors.New("too short")

func (s *sharedVerdicts) open(life [16]byte, request, sealed []byte) (*sluicepb.DeviceInfo, int64, error) {
	c, err := s.cipher(life, request)
	if err != nil {
		return nil, 0, err
	}
	if len(sealed) < c.NonceSize() {
		return nil, 0, errSealed
	}
	plain, err := c.Open(nil, sealed[:c.NonceSize()], sealed[c.NonceSize():], nil)
	if err != nil {
		return nil, 0, fmt.Errorf("open verdict: %w", err)
	}
	if len(plain) < 8 {
		return nil, 0, errSealed
	}
	var info sluicepb.DeviceInfo
	if err := proto.Unmarshal(plain[8:], &info); err != nil {
		return nil, 0, fmt.Errorf("decode verdict: %w", err)
	}
	return &info, int64(binary.BigEndian.Uint64(plain)), nil
}
