package cassandra

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

// eraAge is how long the store trusts what it knows of an entity's eras.
const eraAge = 10 * time.Minute

// allNames stands for every name in the table of eras: no value has the empty name.
const allNames = ""

// eras remembers entities' eras. A latest value's era is how often values of its name were deleted: a
// delete begins a new one, since in the old one nothing that is older than what was deleted would
// be seen again. Nearly all entities have none. Like days, it forgets the older half when full.
type eras struct {
	limit int
	now   func() time.Time

	mu         sync.Mutex
	young, old map[ident.EntityID]entityEras
	// forgotten counts what was forgotten on purpose: a read begun before must not put back what it found.
	forgotten int64
}

// entityEras is what is known of one entity. names is never changed.
type entityEras struct {
	names  map[string]int64
	readAt int64 // ms
}

// of returns the era in which values of name are now.
func (e entityEras) of(name string) int64 {
	if e.names == nil {
		return 0
	}
	return max(e.names[name], e.names[allNames])
}

func newEras(limit int, now func() time.Time) *eras {
	return &eras{limit: max(limit/2, 1), now: now, young: map[ident.EntityID]entityEras{}, old: map[ident.EntityID]entityEras{}}
}

// known returns what is remembered of an entity, if it is not too old.
func (e *eras) known(of ident.EntityID) (entityEras, bool) {
	oldest := e.now().Add(-eraAge).UnixMilli()
	e.mu.Lock()
	defer e.mu.Unlock()
	is, ok := e.young[of]
	if !ok {
		if is, ok = e.old[of]; ok {
			e.put(of, is)
		}
	}
	return is, ok && is.readAt >= oldest
}

// generation is to be given to recorded by who reads now.
func (e *eras) generation() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.forgotten
}

func (e *eras) recorded(of ident.EntityID, is entityEras, generation int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if generation == e.forgotten {
		e.put(of, is)
	}
}

func (e *eras) put(of ident.EntityID, is entityEras) {
	if len(e.young) >= e.limit {
		e.old, e.young = e.young, make(map[ident.EntityID]entityEras)
	}
	e.young[of] = is
}

func (e *eras) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten++
	clear(e.young)
	clear(e.old)
}

// drop forgets one entity.
func (e *eras) drop(of ident.EntityID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten++
	delete(e.young, of)
	delete(e.old, of)
}

const erasStatement = "SELECT name, era FROM eras WHERE entity = ?"

// readEras reads an entity's eras and remembers them.
func (s *Store) readEras(ctx context.Context, e ident.EntityID) (entityEras, error) {
	generation := s.eras.generation()
	is := entityEras{readAt: s.options.Now().UnixMilli()}
	var name []byte
	var era int64
	err := s.rows(ctx, func(scan func(...any) bool) bool {
		if !scan(&name, &era) {
			return false
		}
		if is.names == nil {
			is.names = map[string]int64{}
		}
		is.names[string(name)] = era
		return true
	}, erasStatement, appendEntity(nil, e))
	if err != nil {
		return is, fmt.Errorf("read eras: %w", err)
	}
	s.eras.recorded(e, is, generation)
	return is, nil
}
