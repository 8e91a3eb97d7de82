package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"golang.org/x/sync/errgroup"
)

const (
	// rawPack is as many messages as a core node stores together at most; rawWriters packs are written side by side, and
	// rawInFlight requests are under way at once, as in a core node.
	rawPack     = 2000
	rawWriters  = 4
	rawInFlight = 128
	dayMillis   = 86_400_000
)

// rowsRole writes straight with the driver the rows that a.Messages messages of three values become: the history of a pack,
// one unlogged batch per device, and the latest values of its devices.
func rowsRole(ctx context.Context, a assignment, say func(report) error) error {
	cluster := gocql.NewCluster(a.Cassandra)
	cluster.Keyspace, cluster.ProtoVersion, cluster.Consistency = a.Keyspace, 4, gocql.LocalQuorum
	cluster.Timeout, cluster.WriteTimeout, cluster.DefaultTimestamp = 5*time.Second, 5*time.Second, false
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
	cassandra, err := cluster.CreateSession()
	if err != nil {
		return fmt.Errorf("connect to Cassandra: %w", err)
	}
	defer cassandra.Close()
	w := &rawRows{session: cassandra, devices: newRowWriter(a.Clients).devices, slots: make(chan struct{}, rawInFlight)}
	if err := w.write(ctx, a.Messages/10); err != nil { // connections, prepared statements
		return err
	}
	start := time.Now()
	if err := w.write(ctx, a.Messages); err != nil {
		return err
	}
	return say(report{Messages: a.Messages, Elapsed: time.Since(start)})
}

// write writes that many messages, several packs side by side.
func (w *rawRows) write(ctx context.Context, messages int) error {
	packs, ctx := errgroup.WithContext(ctx)
	packs.SetLimit(rawWriters)
	now := time.Now().UnixMilli()
	for first := 0; first < messages; first += rawPack {
		packs.Go(func() error { return w.pack(ctx, now+int64(first), min(rawPack, messages-first)) })
	}
	return packs.Wait()
}

type rawRows struct {
	session *gocql.Session
	devices [][16]byte
	slots   chan struct{}
}

const (
	rawHistory = "UPDATE history USING TIMESTAMP ? SET v = ? WHERE entity = ? AND day = ? AND name = ? AND at = ?"
	rawLatest  = "UPDATE latest USING TIMESTAMP ? SET v = ? WHERE entity = ? AND name = ? AND era = ?"
)

// pack writes that many messages, a millisecond each, from millisecond first on.
func (w *rawRows) pack(ctx context.Context, first int64, messages int) error {
	requests, ctx := errgroup.WithContext(ctx)
	for i := range w.devices {
		entity := append([]byte{4}, w.devices[i][:]...)
		history := w.session.Batch(gocql.UnloggedBatch)
		latest := w.session.Batch(gocql.UnloggedBatch)
		for _, name := range [][]byte{[]byte("temperature"), []byte("humidity"), []byte("pressure")} {
			for m := i; m < messages; m += len(w.devices) {
				at := first + int64(m)
				value := binary.BigEndian.AppendUint64([]byte{2}, uint64(at))
				history.Query(rawHistory, at*1000, value, entity, at/dayMillis, name, int32(at%dayMillis))
			}
			latest.Query(rawLatest, first, make([]byte, 25), entity, name, int64(0))
		}
		for _, batch := range []*gocql.Batch{history, latest} {
			if len(batch.Entries) == 0 {
				continue
			}
			select {
			case w.slots <- struct{}{}:
			case <-ctx.Done():
				return errors.Join(ctx.Err(), requests.Wait())
			}
			requests.Go(func() error {
				defer func() { <-w.slots }()
				return batch.ExecContext(ctx)
			})
		}
	}
	return requests.Wait()
}
