package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// sessions remembers which sessions ended, in the store, so that a token stays refused after a
// restart and on other nodes. A mark is kept until the session's last token has expired.
type sessions struct {
	store storage.Entities
	ended *otter.Cache[ident.ID, bool]
	now   func() time.Time
	ttl   time.Duration
}

type endedSession struct {
	At int64 `json:"at"` // ms
}

func newSessions(store storage.Entities, settings Settings, now func() time.Time) *sessions {
	return &sessions{store: store, now: now, ttl: max(settings.AccessTTL, settings.RefreshTTL), ended: otter.Must(&otter.Options[ident.ID, bool]{
		MaximumSize:      settings.CacheEntries,
		ExpiryCalculator: otter.ExpiryWriting[ident.ID, bool](settings.CacheTTL),
	})}
}

func sessionID(id ident.ID) ident.EntityID { return ident.EntityID{Type: ident.UserSession, ID: id} }

// end marks a session; its tokens are refused from now on.
func (s *sessions) end(ctx context.Context, id ident.ID) error {
	body, err := json.Marshal(endedSession{At: s.now().UnixMilli()})
	if err != nil {
		return fmt.Errorf("encode ended session: %w", err)
	}
	// The claim makes a second logout of the session a harmless ErrTaken.
	err = s.store.Create(ctx, storage.Document{ID: sessionID(id), Body: body, Claims: []string{"ended-session/" + id.String()}})
	if err != nil && !errors.Is(err, storage.ErrTaken) {
		return fmt.Errorf("mark session as ended: %w", err)
	}
	s.ended.Set(id, true)
	return nil
}

func (s *sessions) hasEnded(ctx context.Context, id ident.ID) (bool, error) {
	return s.ended.Get(ctx, id, otter.LoaderFunc[ident.ID, bool](func(ctx context.Context, id ident.ID) (bool, error) {
		_, err := s.store.Get(ctx, ident.TenantID{}, sessionID(id))
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look up session: %w", err)
		}
		return true, nil
	}))
}

// sweep deletes the marks of sessions whose tokens have all expired.
func (s *sessions) sweep(ctx context.Context) error {
	before := s.now().Add(-s.ttl).UnixMilli()
	for d, err := range s.store.List(ctx, ident.TenantID{}, ident.UserSession, ident.ID{}) {
		if err != nil {
			return fmt.Errorf("list ended sessions: %w", err)
		}
		var e endedSession
		if err := json.Unmarshal(d.Body, &e); err != nil {
			return fmt.Errorf("decode ended session %v: %w", d.ID.ID, err)
		}
		if e.At >= before {
			continue
		}
		if err := s.store.Delete(ctx, ident.TenantID{}, d.ID, 0); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("delete ended session %v: %w", d.ID.ID, err)
		}
	}
	return nil
}
