package rule

import (
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
)

// slots bounds the nodes that wait for one thing at once. One tenant holds at most half of them, and who waits for a slot
// is served in turn by tenant: a tenant whose nodes are slow slows itself.
type slots struct {
	most, line int
	now        func() int // how many of most may be taken now; nil: all, always
	busy       int
	tenants    map[ident.TenantID]*tenantSlots
	turn       []ident.TenantID // tenants with a line, the next one first
}

type tenantSlots struct {
	busy int
	line []branch
}

func newSlots(most, line int) *slots {
	return &slots{most: most, line: line, tenants: map[ident.TenantID]*tenantSlots{}}
}

// bounds returns how many slots there are now, and how many of them one tenant may have.
func (s *slots) bounds() (most, share int) {
	most = s.most
	if s.now != nil {
		most = min(most, s.now())
	}
	return most, max(1, most/2)
}

// take reports whether b has a slot now. If not, it stands in line, or its tenant's line is full: then it has an error,
// unless it must be taken.
func (s *slots) take(b branch, must bool) (bool, error) {
	tenant := b.chain.Tenant
	t := s.tenants[tenant]
	if t == nil {
		t = &tenantSlots{}
		s.tenants[tenant] = t
	}
	if most, share := s.bounds(); s.busy < most && t.busy < share && len(t.line) == 0 {
		s.busy++
		t.busy++
		return true, nil
	}
	if len(t.line) >= s.line && !must {
		return false, fmt.Errorf("pending: %d messages of the tenant wait for such nodes already", s.line)
	}
	if len(t.line) == 0 {
		s.turn = append(s.turn, tenant)
	}
	t.line = append(t.line, b)
	return false, nil
}

// leave gives up a slot of tenant's.
func (s *slots) leave(tenant ident.TenantID) {
	t := s.tenants[tenant]
	s.busy--
	if t.busy--; t.busy == 0 && len(t.line) == 0 {
		delete(s.tenants, tenant)
	}
}

// next returns whose turn it is, with a slot taken for it.
func (s *slots) next() (branch, bool) {
	most, share := s.bounds()
	if s.busy >= most {
		return branch{}, false
	}
	for i, tenant := range s.turn {
		t := s.tenants[tenant]
		if t.busy >= share {
			continue
		}
		b := t.line[0]
		t.line[0] = branch{}
		t.line = t.line[1:]
		s.turn = append(s.turn[:i], s.turn[i+1:]...)
		if len(t.line) > 0 {
			s.turn = append(s.turn, tenant)
		}
		s.busy++
		t.busy++
		return b, true
	}
	return branch{}, false
}
