package ota

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// The kinds of task.
const (
	blobTask    = "blob"    // a blob that its package may not name
	deviceTask  = "device"  // a device that may have another package
	profileTask = "profile" // all devices of a profile that may
)

// task is something that has to be done in the end, whatever dies meanwhile. Doing it again does no harm: each says where to look,
// not what to do.
type task struct {
	Kind   string
	Tenant ident.TenantID
	ID     ident.ID // package, device or profile
	Blob   string   `json:",omitempty"`
	// At is when it was noted, ms.
	At int64
	// After is the last device of the profile that is done.
	After ident.ID
}

// journal is the tasks that are not done, each in the store under the partition of what it is about, in order of when it is due. Rows
// leave it within seconds or the hour, so a scan from where the last one found nothing older meets few that are gone.
type journal struct {
	rows       storage.Rows
	partitions int
}

// entry is a task with its place.
type entry struct {
	task
	key []byte
}

func (j journal) partition(id ident.ID) int { return bus.Partition(id[:], j.partitions) }

func journalGroup(partition int) string { return fmt.Sprintf("ota-journal/%d", partition) }

func dueKey(due time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(due.UnixMilli(), 0)))
}

// note enters a task that its maker does, unless it dies: others take it up when it is due.
func (j journal) note(ctx context.Context, t task, due time.Time) (key []byte, err error) {
	id := ident.New()
	key = append(dueKey(due), id[:]...)
	return key, j.put(ctx, entry{t, key})
}

func (j journal) put(ctx context.Context, e entry) error {
	body, err := json.Marshal(e.task)
	if err != nil {
		return fmt.Errorf("encode a task: %w", err)
	}
	err = j.rows.ChangeRows(ctx, journalGroup(j.partition(e.ID)), []storage.Row{{Key: e.key, Body: body}}, nil, 0)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "note a task", err)
	}
	return nil
}

// hasten makes a task due now.
func (j journal) hasten(ctx context.Context, e entry, now time.Time) error {
	body, err := json.Marshal(e.task)
	if err != nil {
		return fmt.Errorf("encode a task: %w", err)
	}
	id := ident.New()
	put := []storage.Row{{Key: append(dueKey(now), id[:]...), Body: body}}
	if err := j.rows.ChangeRows(ctx, journalGroup(j.partition(e.ID)), put, [][]byte{e.key}, 0); err != nil {
		return fault.Wrap(fault.Unavailable, "note a task", err)
	}
	return nil
}

// done strikes a task out.
func (j journal) done(ctx context.Context, t task, key []byte) error {
	if err := j.rows.ChangeRows(ctx, journalGroup(j.partition(t.ID)), nil, [][]byte{key}, 0); err != nil {
		return fault.Wrap(fault.Unavailable, "strike out a task", err)
	}
	return nil
}

// due yields the tasks of a partition that are due at now, oldest first, of those due since from.
func (j journal) due(ctx context.Context, partition int, from, now time.Time) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for row, err := range j.rows.ScanRows(ctx, journalGroup(partition), dueKey(from), dueKey(now.Add(time.Millisecond)), false) {
			e := entry{key: row.Key}
			if err == nil {
				err = json.Unmarshal(row.Body, &e.task)
			}
			if err != nil {
				yield(e, fmt.Errorf("read tasks: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
