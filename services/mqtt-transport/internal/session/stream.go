package session

import (
	"context"
	"log/slog"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// stream is a package on its way to the client in one PUBLISH. It is read in pieces, as fast as the client takes them, so that it
// is never in memory as a whole.
type stream struct {
	// behind is what comes up meanwhile; it is written after the PUBLISH.
	behind *Output
	// room is signalled when bytes were taken to be written, or the session closes.
	room chan struct{}
}

// wholePackage is a package to be sent in one PUBLISH. ctx ends with the session.
type wholePackage struct {
	transport.Package
	ctx context.Context
}

func (t *stream) wake() {
	if t == nil {
		return
	}
	select {
	case t.room <- struct{}{}:
	default:
	}
}

// pieceBytes is how much of a package is read at a time.
const pieceBytes = 256 << 10

// beginStream writes the head of d, whose payload follows. Only under the lock.
func (s *Session) beginStream(d delivery, id uint16) {
	s.hub.metrics.sent.Inc()
	o := s.output()
	o.Bytes = packet.AppendPublishHead(o.Bytes, s.version, d.qos, id, d.topic, int(d.whole.Size))
	s.flush()
	t := &stream{room: make(chan struct{}, 1)}
	s.stream = t
	p := d.whole.Package
	s.hub.reads.Go(func() {
		for offset := int64(0); offset < p.Size; {
			piece, err := s.hub.platform.ReadPackage(d.whole.ctx, p, offset, pieceBytes)
			if err == nil && len(piece) == 0 {
				err = errPackageShort
			}
			if err != nil {
				s.hub.log.Debug("a package could not be sent to its end", slog.Any("err", err))
				s.Break(CausePlatform) // nothing can be said within a packet
				return
			}
			if !s.writePiece(t, piece) {
				return
			}
			offset += int64(len(piece))
		}
		s.endStream(t)
	})
}

// writePiece writes piece as far as there is room, waiting for more; false when the session is over.
func (s *Session) writePiece(t *stream, piece []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(piece) > 0 {
		room := s.hub.rules.OutputBytes
		if s.out != nil {
			room -= len(s.out.Bytes)
		}
		switch {
		case s.closing:
			return false
		case room <= 0:
			s.mu.Unlock()
			<-t.room
			s.mu.Lock()
		default:
			n := min(room, len(piece))
			o := s.nextOutput()
			o.Bytes = append(o.Bytes, piece[:n]...)
			piece = piece[n:]
			s.flush()
		}
	}
	return true
}

// endStream lets what waited behind follow.
func (s *Session) endStream(t *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = nil
	if s.closing {
		return
	}
	if t.behind != nil {
		o := s.nextOutput()
		o.Bytes = append(o.Bytes, t.behind.Bytes...)
		s.hub.recycle(t.behind)
		s.wrote(o)
	}
	s.pump()
}
