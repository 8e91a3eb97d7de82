package transport

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"

	"github.com/sluice-iot/sluice/proto/telemetry"
)

// messageIDs makes ids that no other process and no earlier life of this one makes: 8 random
// bytes of this process, then a counter.
type messageIDs struct {
	process [8]byte
	counter atomic.Uint64
}

func newMessageIDs() *messageIDs {
	m := &messageIDs{}
	rand.Read(m.process[:]) // never fails: crypto/rand ends the process instead
	return m
}

func (m *messageIDs) next() (id telemetry.MessageID) {
	copy(id[:8], m.process[:])
	binary.BigEndian.PutUint64(id[8:], m.counter.Add(1))
	return id
}
