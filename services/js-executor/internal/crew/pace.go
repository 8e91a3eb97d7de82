package crew

import (
	"math"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
)

// paces remember how scripts have run, so that a slow one is not put in front of others.
type paces struct {
	most int
	byID map[script.ID]*pace
}

// pace is one script's: how often it was slow of late, and whether it was the last time.
type pace struct {
	slow float64
	at   time.Time
	last bool
	away int // runs in a row that got no processor time
}

func newPaces(most int) paces { return paces{most: most, byID: map[script.ID]*pace{}} }

const (
	// slowRun is the processor time of a run that others would notice behind it.
	slowRun = 20 * time.Millisecond
	// After one slow run, which may have been the machine's, a script has to show that it is quick; after more of late it is slow.
	manySlow = 1.5
	halfLife = 5 * time.Second
	// mostAway is how many runs in a row may be the machine's fault: a script that always has its process wait for something is at fault itself.
	mostAway = 2
)

// unsure reports whether a script may be slow: it was, or nobody knows.
func (p *paces) unsure(id script.ID, now time.Time) bool {
	known := p.byID[id]
	return known == nil || known.last || known.now(now) > manySlow
}

func (p *pace) now(now time.Time) float64 {
	if p.slow == 0 {
		return 0
	}
	return p.slow * math.Exp2(-float64(now.Sub(p.at))/float64(halfLife))
}

// ran takes a run's processor time into account.
func (p *paces) ran(id script.ID, took time.Duration, now time.Time) {
	known := p.of(id)
	known.away = 0
	if known.last = took > slowRun; known.last {
		known.slow, known.at = known.now(now)+1, now
	}
}

// excused takes a run that got no processor time into account, and reports whether that was the machine's fault.
func (p *paces) excused(id script.ID) bool {
	known := p.of(id)
	known.last = true // it has to show that it is quick
	known.away++
	return known.away <= mostAway
}

// of returns what is known of a script, to be changed.
func (p *paces) of(id script.ID) *pace {
	known := p.byID[id]
	if known == nil {
		if len(p.byID) >= p.most {
			for other := range p.byID { // any one: it is tried by itself the next time
				delete(p.byID, other)
				break
			}
		}
		known = &pace{}
		p.byID[id] = known
	}
	return known
}
