package websocket

import (
	"slices"
	"sync"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// subscription follows one entity for one session. It watches before the first answer is
// read, keeps what comes meanwhile, and then sends of that only what the answer did not have.
type subscription struct {
	id      int64
	entity  ident.EntityID
	scopes  []storage.Scope
	keys    map[string]bool // nil: all
	latest  bool            // only points not older than the newest known of their key
	out     sender
	maxKeys int
	maxWait int

	stop func()

	mu      sync.Mutex
	loading bool
	waiting []live.Update
	newest  map[string]int64 // time of the newest point by key, if latest
	// had is the newest points of the first answer by key, until news of the key comes: what was stored
	// before the answer was read may be told of after it was sent.
	had map[string][]storage.Point
}

// hadPoints is how many points of a key are remembered: more than one batch of the store holds.
const hadPoints = 4096

// sender is where a subscription's updates go: the session.
type sender interface {
	send(*update)
	// overflow ends the session: the subscription outgrew a bound.
	overflow(reason string)
}

// deliver is called by whoever saves; it must be brief.
func (s *subscription) deliver(u live.Update) {
	if !slices.Contains(s.scopes, u.Scope) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loading {
		s.push(u)
		return
	}
	if len(s.waiting) >= s.maxWait {
		s.out.overflow("too many updates while the first answer is read")
		return
	}
	s.waiting = append(s.waiting, u)
}

// loaded sends the first answer, then what came while it was read.
func (s *subscription) loaded(answer []history.Series) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest {
		s.newest = make(map[string]int64, len(answer))
	}
	s.had = make(map[string][]storage.Point, len(answer))
	for _, series := range answer {
		s.had[series.Key] = newestOf(series.Points)
		for _, p := range series.Points {
			s.note(series.Key, p)
		}
	}
	s.out.send(newAnswer(s.id, answer))
	for _, u := range s.waiting {
		s.push(u)
	}
	s.loading, s.waiting = false, nil
}

// newestOf returns a copy of the newest of points, which are in order of time, one way or the other.
func newestOf(points []storage.Point) []storage.Point {
	if n := len(points); n > hadPoints {
		if points[0].Time < points[n-1].Time {
			points = points[n-hadPoints:]
		} else {
			points = points[:hadPoints]
		}
	}
	return slices.Clone(points)
}

// note remembers the newest time of a key. A point without value says that there is none.
func (s *subscription) note(key string, p storage.Point) {
	if !s.latest || p.Value.Kind == telemetry.None {
		return
	}
	if known, ok := s.newest[key]; !ok || known < p.Time {
		if !ok && len(s.newest) >= s.maxKeys {
			s.out.overflow("too many keys to follow")
			return
		}
		s.newest[key] = p.Time
	}
}

// push sends what of one save is asked for, and is not in the first answer already.
func (s *subscription) push(u live.Update) {
	series := make([]history.Series, 0, len(u.Values)+len(u.Deleted))
	for _, kv := range u.Values {
		if !s.wants(kv.Key) {
			continue
		}
		p := storage.Point{Time: u.Time, Value: kv.Value}
		if s.stale(kv.Key, p) || s.answered(s.had[kv.Key], p) {
			continue
		}
		// From here on the client may have an older value than the answer's: all that follows is news.
		delete(s.had, kv.Key)
		s.note(kv.Key, p)
		series = append(series, history.Series{Key: kv.Key, Points: []storage.Point{p}})
	}
	for _, key := range u.Deleted {
		if s.wants(key) {
			delete(s.newest, key)
			series = append(series, one(key, deletedAt, telemetry.OfString("")))
		}
	}
	if len(series) > 0 {
		s.out.send(newUpdate(s.id, series))
	}
}

func (s *subscription) wants(key string) bool { return s.keys == nil || s.keys[key] }

// answered reports whether the answer's points of a key have p already, or for attributes something newer.
func (s *subscription) answered(had []storage.Point, p storage.Point) bool {
	return slices.Contains(had, p) || len(had) > 0 && p.Time < had[0].Time && !slices.Contains(s.scopes, storage.Timeseries)
}

func (s *subscription) stale(key string, p storage.Point) bool {
	known, ok := s.newest[key]
	return s.latest && ok && p.Time < known
}
