package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// keyBytes is the size of the key that HS512 asks for (RFC 7518 §3.2).
const keyBytes = 64

const keyClaim = "settings/jwt-key"

type storedKey struct {
	Key []byte `json:"key"`
}

// LoadKey returns the key tokens are signed with, the same on every node and after every start.
// The first to ask makes it, at random.
func LoadKey(ctx context.Context, store storage.Entities) ([]byte, error) {
	key, err := readKey(ctx, store)
	if !errors.Is(err, storage.ErrNotFound) {
		return key, err
	}
	fresh := make([]byte, keyBytes)
	rand.Read(fresh)
	body, err := json.Marshal(storedKey{fresh})
	if err != nil {
		return nil, fmt.Errorf("encode signing key: %w", err)
	}
	err = store.Create(ctx, storage.Document{
		ID: ident.EntityID{Type: ident.AdminSettings, ID: ident.New()}, Body: body, Claims: []string{keyClaim},
	})
	if errors.Is(err, storage.ErrTaken) {
		return readKey(ctx, store) // another node was faster
	}
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
