package corenode

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/script"
)

// scripts gives rule nodes the executors' client as the interface they know.
type scripts struct{ *script.Scripts }

// Prepare implements rule.Scripts.
func (s scripts) Prepare(tenant ident.TenantID, parameters []string, body string) (rule.Script, error) {
	prepared, err := s.Scripts.Prepare(tenant, parameters, body)
	if err != nil {
		return nil, err
	}
	return patient{prepared}, nil
}

// patient waits while too many of a tenant's calls wait already: what holds a message up is the tenant's own, and the message
// is not at fault. It gives up when the node's time is over.
type patient struct{ *script.Script }

// The pauses between attempts at a call that is refused because too many wait.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// Call implements rule.Script.
func (p patient) Call(ctx context.Context, args []string) (string, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		result, err := p.Script.Call(ctx, args)
		var refused *script.Error
		if !errors.As(err, &refused) || refused.Kind != script.Pending {
			return result, err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(pause):
		}
	}
}
