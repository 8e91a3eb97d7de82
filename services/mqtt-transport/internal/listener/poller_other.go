//go:build !linux

package listener

import (
	"context"
	"net"
)

// poller is what Linux has.
type poller struct{}

func newPollers(*Server) ([]*poller, error) { return nil, nil }

func (p *poller) run() {}

func (p *poller) stop() {}

func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener, e Entry) error {
	return s.serveEach(ctx, l, e)
}
