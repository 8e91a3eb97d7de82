package part

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
)

// NewRedis installs Redis where that is needed and prepares one server in dir, without persistence: it is a cache.
func NewRedis(ctx context.Context, dir string) (*Single, error) {
	if err := debian(ctx, needed{"redis-server", "redis-server"}); err != nil {
		return nil, err
	}
	address, err := FreeAddress("tcp")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "redis")
	if err := folder(dir, nil); err != nil {
		return nil, fmt.Errorf("prepare Redis: %w", err)
	}
	host, port := split(address)
	return &Single{address: address, Process: NewProcess(Command{
		Name: "redis", Program: "redis-server", Dir: dir,
		Args:  []string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no"},
		Ready: func(ctx context.Context) error { return ask(ctx, address, []byte("PING\r\n"), "+PONG") },
	})}, nil
}

// split takes one of our own addresses apart.
func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err) // FreeAddress made it
	}
	return host, port
}
