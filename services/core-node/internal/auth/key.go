package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// keyBytes is the size of the key that HS512 asks for (RFC 7518 §3.2).
const keyBytes = 64

// A claim without its document is given up by the store after 10 s.
const (
	keyPatience = 20 * time.Second
	keyPause    = 50 * time.Millisecond
)

const keyClaim = "settings/jwt-key"

type storedKey struct {
	Key []byte `json:"key"`
}

// LoadKey returns the key tokens are signed with, the same on every node and after every start.
// The first to ask makes it, at random. Who finds it being made waits: one whose maker died the store gives up by itself.
func LoadKey(ctx context.Context, store storage.Entities) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	for {
		key, err := readKey(ctx, store)
		if !errors.Is(err, storage.ErrNotFound) {
			return key, err
		}
		key, err = makeKey(ctx, store)
		if !errors.Is(err, storage.ErrTaken) {
			return key, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(keyPause):
		}
	}
}

// makeKey returns storage.ErrTaken when another node is about it, or was.
func makeKey(ctx context.Context, store storage.Entities) ([]byte, error) {
	fresh := make([]byte, keyBytes)
	rand.Read(fresh)
	body, err := json.Marshal(storedKey{fresh})
	if err != nil {
		return nil, fmt.Errorf("encode signing key: %w", err)
	}
	err = store.Create(ctx, storage.Document{
		ID: ident.EntityID{Type: ident.AdminSettings, ID: ident.New()}, Body: body, Claims: []string{keyClaim},
	})
	if err != nil {
		return nil, fmt.Errorf("store signing key: %w", err)
	}
	return fresh, nil
}

func readKey(ctx context.Context, store storage.Entities) ([]byte, error) {
	d, err := store.ByClaim(ctx, keyClaim)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	var k storedKey
	if err := json.Unmarshal(d.Body, &k); err != nil {
		return nil, fmt.Errorf("decode signing key: %w", err)
	}
	if len(k.Key) < keyBytes {
		return nil, fmt.Errorf("signing key of %d bytes, want at least %d", len(k.Key), keyBytes)
	}
	return k.Key, nil
}
