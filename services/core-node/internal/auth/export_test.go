package auth

import "context"

// Sweep is what Run does now and then.
func (a *Accounts) Sweep(ctx context.Context) error { return a.sessions.sweep(ctx) }
