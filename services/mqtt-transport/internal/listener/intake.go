package listener

import (
	"slices"
	"sync"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// blockBytes is how much is read at a time. A block is borrowed when bytes are there to be read
// and given back when they have been handled: a connection that sleeps holds none.
const blockBytes = 8 << 10

type block [blockBytes]byte

// blocks lends blocks out.
type blocks struct{ pool sync.Pool }

func (b *blocks) borrow() *block {
	if got, ok := b.pool.Get().(*block); ok {
		return got
	}
	return new(block)
}

func (b *blocks) giveBack(x *block) { b.pool.Put(x) }

// intake holds what was read of a packet that is not complete, and no more: what it holds is
// bounded by what was sent, not by the length that a client declared.
type intake struct {
	rest  []byte
	block *block // borrowed between room and read
}

// room returns where the next bytes go. It is followed by read, or by unread when none came.
func (i *intake) room(from *blocks) []byte {
	if len(i.rest) <= blockBytes/2 {
		i.block = from.borrow()
		return i.block[copy(i.block[:], i.rest):]
	}
	// A large packet is read where it will stay, growing as it comes.
	i.rest = slices.Grow(i.rest, min(session.Missing(i.rest), len(i.rest)))
	return i.rest[len(i.rest):cap(i.rest)]
}

func (i *intake) unread(to *blocks) {
	if i.block != nil {
		to.giveBack(i.block)
		i.block = nil
	}
}

// read hands all there is, n new bytes included, to feed, and keeps what feed does not take.
func (i *intake) read(n int, to *blocks, feed func([]byte) (int, session.Verdict)) session.Verdict {
	if i.block == nil {
		i.rest = i.rest[:len(i.rest)+n]
		taken, v := feed(i.rest)
		i.keep(i.rest[taken:], taken)
		return v
	}
	had := len(i.rest)
	all := i.block[:had+n]
	taken, v := feed(all)
	if taken == 0 {
		i.rest = append(i.rest, all[had:]...)
	} else {
		i.keep(all[taken:], taken)
	}
	i.unread(to)
	return v
}

// again feeds what was kept once more.
func (i *intake) again(feed func([]byte) (int, session.Verdict)) session.Verdict {
	taken, v := feed(i.rest)
	i.keep(i.rest[taken:], taken)
	return v
}

func (i *intake) keep(left []byte, taken int) {
	switch {
	case len(left) == 0:
		i.rest = nil
	case taken > 0:
		i.rest = append(i.rest[:0], left...)
	}
}
