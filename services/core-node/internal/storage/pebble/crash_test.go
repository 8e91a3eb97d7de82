package pebble_test

import (
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// crashing is a disk that, while watched, keeps what a crash before and after each write and sync would leave.
type crashing struct {
	*vfs.MemFS

	mu       sync.Mutex
	watching bool
	left     []*vfs.MemFS
}

func (c *crashing) watch(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching = on
}

func (c *crashing) snapshot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.watching {
		return
	}
	c.left = append(c.left, c.CrashClone(vfs.CrashCloneCfg{}),
		c.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, uint64(len(c.left))))}))
}

func (c *crashing) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.MemFS.Create(name, category)
	return crashingFile{f, c}, err
}

func (c *crashing) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.MemFS.ReuseForWrite(from, to, category)
	return crashingFile{f, c}, err
}

type crashingFile struct {
	vfs.File
	disk *crashing
}

func (f crashingFile) Write(p []byte) (int, error) {
	f.disk.snapshot()
	defer f.disk.snapshot()
	return f.File.Write(p)
}

func (f crashingFile) Sync() error {
	f.disk.snapshot()
	defer f.disk.snapshot()
	return f.File.Sync()
}

func (f crashingFile) SyncData() error {
	f.disk.snapshot()
	defer f.disk.snapshot()
	return f.File.SyncData()
}

func (f crashingFile) SyncTo(length int64) (bool, error) {
	f.disk.snapshot()
	defer f.disk.snapshot()
	return f.File.SyncTo(length)
}
