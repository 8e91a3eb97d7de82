package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Examine opens the store as a core node does, writes a row and asks what time Cassandra has.
func Examine(ctx context.Context, o Options) (clock time.Time, err error) {
	s, err := Open(ctx, o)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.query(probeStatement, time.Now().UnixMilli(), int32(0)).ExecContext(ctx); err != nil {
		return time.Time{}, fmt.Errorf("write a row: %w", err)
	}
	err = s.query("SELECT toTimestamp(now()) FROM system.local").ScanContext(ctx, &clock)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", err)
	}
	return clock, nil
}
