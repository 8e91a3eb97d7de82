package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// slowMaker is a store in which another node has claimed the key and writes it a moment later.
type slowMaker struct {
	storage.Entities
	reads int
	key   []byte
}

func (s *slowMaker) ByClaim(context.Context, string) (storage.Document, error) {
	if s.reads++; s.reads < 3 {
		return storage.Document{}, storage.ErrNotFound
	}
	body, err := json.Marshal(map[string][]byte{"key": s.key})
	return storage.Document{Body: body}, err
}

func (s *slowMaker) Create(context.Context, storage.Document) error { return storage.ErrTaken }

// Nodes that start side by side on a new store ask while one of them makes the key.
func TestTheKeyIsWaitedForWhileAnotherNodeMakesIt(t *testing.T) {
	store := &slowMaker{key: bytes.Repeat([]byte{7}, 64)}
	key, err := auth.LoadKey(t.Context(), store)
	if err != nil || !bytes.Equal(key, store.key) {
		t.Errorf("key %x, %v", key, err)
	}
}
