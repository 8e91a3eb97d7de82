package main

import (
	"context"
	"net/http"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/internal/operator"
)

// health is `sluice health`, for where there is no other program that could ask.
type health struct {
	operator.Node
}

// Run fails, saying why, unless the node says that it is ready.
func (h *health) Run(ctx context.Context, _ process.Invocation) error {
	_, err := h.Ask(ctx, http.MethodGet, "/ready")
	return err
}
