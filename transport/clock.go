package transport

import "sync/atomic"

// deviceClock gives readings without their own time a strictly increasing one per device.
type deviceClock struct{ last atomic.Int64 }
