//go:build !fleet

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	diskBytes   = 96 << 20
	diskReserve = 32 << 20
)

// smallDisk mounts a file system of its own for the scenario. Who may not mount has a folder of the
// ordinary one, on which nothing can be filled up.
func smallDisk(t *testing.T) (dir string, mounted bool) {
	t.Helper()
	dir = t.TempDir()
	if os.Geteuid() != 0 || syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)) != nil {
		return dir, false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, true
}

// fill leaves no more than free bytes of the disk that dir is on; the file returned takes them.
func fill(t *testing.T, dir string, free int64) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	file, err := os.OpenFile(filler, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	block := make([]byte, 64<<10)
	for {
		var usage syscall.Statfs_t
		if err := syscall.Statfs(dir, &usage); err != nil {
			t.Fatal(err)
		}
		left := int64(usage.Bavail)*usage.Bsize - free
		if left <= 0 {
			return filler
		}
		if _, err := file.Write(block[:min(left, int64(len(block)))]); errors.Is(err, syscall.ENOSPC) {
			return filler
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskRunsLow takes the disk below its reserve under load: readings are refused, never
// acknowledged and lost, /ready says why, and all goes on when there is room again.
func TestDiskRunsLow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, mounted := smallDisk(t)
	reserve := int64(diskReserve)
	if !mounted {
		reserve = 1 << 50 // more than any disk has: low from the second start on
	}
	platform := NewStandalone(t)
	platform.Keep(dir)
	if mounted {
		platform.Set(fmt.Sprintf("--disk-reserve=%d", reserve))
	}
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	if _, err := tenant.NewDevice(ctx, "probe", "PROBE_TOKEN"); err != nil {
		t.Fatal(err)
	}
	devices := newDevices(ctx, t, platform.Doors(), tenant, 30)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 100)
	if err := Probe(ctx, platform.Doors(), "PROBE_TOKEN").Accepted(); err != nil {
		t.Error(err)
	}
	var filler string
	if mounted {
		filler = fill(t, dir, reserve-reserve/4)
	} else {
		platform.Kill()
		platform.Set(fmt.Sprintf("--disk-reserve=%d", reserve))
		starting, enough := context.WithTimeout(ctx, time.Second)
		_ = platform.Start(starting) // it serves, and is not ready
		enough()
	}
	ready, why, err := platform.Ready(ctx)
	if err != nil || ready || !strings.Contains(why, "disk") || !strings.Contains(why, "free") {
		t.Errorf("ready: %v, %q, %v", ready, why, err)
	}
	eventually(ctx, t, 20*time.Second, func() error { return Probe(ctx, platform.Doors(), "PROBE_TOKEN").Refused() })
	refusedAt := devices.acknowledged()
	time.Sleep(500 * time.Millisecond)
	if now := devices.acknowledged(); now != refusedAt {
		t.Errorf("%d readings acknowledged while there was no room", now-refusedAt)
	}
	if mounted {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	} else {
		platform.Kill()
		platform.Set()
		if err := platform.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(ctx, t, 20*time.Second, func() error { return Probe(ctx, platform.Doors(), "PROBE_TOKEN").Accepted() })
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+60)
	stop()
	total := devices.check(ctx, t, tenant)
	t.Logf("mounted %v: acknowledged %d, lost %d", mounted, total.Acknowledged, len(total.Lost))
}

// defaultFulls is how often the disk is full; DISK_FULLS asks for more.
const defaultFulls = 2

// TestDiskIsFull has others eat the reserve too, down to the last byte, again and again. The process may end; what it
// acknowledged is there when there is room and it is started again, and so is its place in every partition.
func TestDiskIsFull(t *testing.T) {
	fulls := times(t, "DISK_FULLS", defaultFulls)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(fulls)*20*time.Second)
	defer cancel()
	dir, mounted := smallDisk(t)
	if !mounted {
		t.Log("only who may mount a small file system can fill one up")
		return
	}
	platform := NewStandalone(t, "--disk-reserve=0")
	platform.Keep(dir)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	devices := newDevices(ctx, t, platform.Doors(), tenant, 30)
	stop := devices.run(ctx, t)
	devices.awaitAcknowledged(ctx, t, 100)
	gap := devices.watchGap(ctx)
	for range fulls {
		devices.awaitAcknowledged(ctx, t, devices.acknowledged()+100)
		filler := fill(t, dir, 0)
		time.Sleep(1500 * time.Millisecond)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		platform.Kill()
		if err := platform.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	devices.awaitAcknowledged(ctx, t, devices.acknowledged()+60)
	longest := gap()
	stop()
	total := devices.check(ctx, t, tenant)
	theFaults.Add(faultOf("F10", "the disk full to its last byte, the process killed (standalone)", fulls, total, longest))
	metrics, err := platform.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("sent %d, acknowledged %d, stored %d, lost %d, duplicates %d; taken since the last start %v", total.Sent,
		total.Acknowledged, total.Stored, len(total.Lost), total.Duplicates, metrics["core_node_messages_taken_total"])
}
