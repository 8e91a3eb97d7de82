package session

import "github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"

// Output is bytes to be written. It belongs to whoever took it, until it is given back by Wrote.
type Output struct {
	Bytes []byte

	messages int       // bytes of PUBLISH packets among them
	requests []written // of the platform, among those
}

// keptOutput bounds the buffers that are used again.
const keptOutput = 4096

// write appends what add appends and sees to it that it is written. Only under the lock.
func (s *Session) write(add func([]byte) []byte) {
	if s.closing {
		return
	}
	o := s.output()
	o.Bytes = add(o.Bytes)
	s.wrote(o)
}

// output is where the next packet goes.
func (s *Session) output() *Output {
	if s.stream == nil {
		return s.nextOutput()
	}
	if s.stream.behind == nil {
		s.stream.behind = s.hub.outputs.Get().(*Output)
	}
	return s.stream.behind
}

// nextOutput is what is written next.
func (s *Session) nextOutput() *Output {
	if s.out == nil {
		s.out = s.hub.outputs.Get().(*Output)
	}
	return s.out
}

// wrote bounds what waits and has it written. Messages to the client are bounded by mayWrite. Only under the lock.
func (s *Session) wrote(o *Output) {
	if len(o.Bytes)-o.messages > s.hub.rules.OutputBytes {
		s.close(CauseSlow, packet.QuotaExceeded)
		return
	}
	s.flush()
}

// flush asks for a writer unless there will be one. Only under the lock.
func (s *Session) flush() {
	if !s.feeding && !s.writing && !s.flushing {
		s.flushing = true
		s.wire.Flush()
	}
}

// Take returns what is to be written; nil when there is nothing, or somebody else is writing. The
// caller writes it and calls Wrote: until then nobody else is given any. asked is whether Wire.Flush
// asked for it: from then on it may ask again.
func (s *Session) Take(asked bool) *Output {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked {
		s.flushing = false
	}
	if s.writing || s.out == nil {
		return nil
	}
	s.writing = true
	return s.takeOut()
}

// Wrote gives back what Take returned, and returns what came up meanwhile, to be written likewise; nil when there is nothing.
func (s *Session) Wrote(o *Output) *Output {
	requests := o.requests
	s.hub.recycle(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing { // else it may have failed
		s.sentOut(requests)
		s.pump()
	}
	if s.out == nil {
		s.writing = false
		if s.closing {
			s.wire.Stop() // who closes the connection waits for this
		}
		return nil
	}
	return s.takeOut()
}

func (s *Session) takeOut() *Output {
	o := s.out
	s.out = nil
	s.stream.wake()
	s.count()
	return o
}

// count counts what was acknowledged, many at a time: the counter is one for all sessions. Only under the lock.
func (s *Session) count() {
	if s.acked > 0 {
		s.hub.metrics.fates[Acknowledged].Add(float64(s.acked))
		s.acked = 0
	}
}

// Writing reports whether somebody holds what Take returned.
func (s *Session) Writing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writing
}

func (h *Hub) recycle(o *Output) {
	if cap(o.Bytes) <= keptOutput {
		*o = Output{Bytes: o.Bytes[:0]}
		h.outputs.Put(o)
	}
}
