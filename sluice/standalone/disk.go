package standalone

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the one that holds the data folder. Broker and store share it: devices' messages are
// refused while less than reserve is free, and the store goes on down to half of that, so that what waits in the
// broker can be stored and its room be given back.
type disk struct {
	folder  string
	reserve int64 // bytes; 0: the disk is not looked at
}

// room returns nil, or why devices' messages are refused.
func (d disk) room() error {
	if d.reserve <= 0 {
		return nil
	}
	usage, err := vfs.Default.GetDiskUsage(d.folder)
	if err != nil {
		return fmt.Errorf("look how much disk is free: %w", err)
	}
	if usage.AvailBytes < uint64(d.reserve) {
		return fmt.Errorf("%d MB free, less than the %d MB to be kept: messages are refused", usage.AvailBytes>>20, d.reserve>>20)
	}
	return nil
}

// storeReserve is what of the disk the store leaves free.
func (d disk) storeReserve() int64 {
	if d.reserve <= 0 {
		return -1 // the store's word for none
	}
	return max(1, d.reserve/2)
}
