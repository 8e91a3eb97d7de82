package transport

import (
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// profileState is what all devices of a profile share, so that its texts are in memory once.
type profileState struct {
	mu      sync.Mutex
	options *sluicepb.ProfileOptions
	// changed is the number of the last event that concerned the profile.
	changed atomic.Uint64
}

// noOptions are those of a profile that says nothing.
var noOptions = &sluicepb.ProfileOptions{}

// intern returns the profile's options when o is the same, and else remembers o as such.
func (p *profileState) intern(o *sluicepb.ProfileOptions) *sluicepb.ProfileOptions {
	if o == nil {
		return noOptions
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !proto.Equal(p.options, o) {
		p.options = o
	}
	return p.options
}
