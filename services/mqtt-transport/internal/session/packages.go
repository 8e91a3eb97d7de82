package session

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

// ask names what a client downloads: by the ids that it chooses, firmware's and software's apart.
type ask struct {
	action topic.Action // FirmwareChunk or SoftwareChunk
	id     string
}

// download is what a connection remembers of an ask: the chunk size given once, and the package found once. An assignment
// that changes is not seen under the same id.
type download struct {
	ask
	size  int64 // of a chunk; 0: none was given
	found *transport.Package
}

// remember returns what the connection knows of a, made if it knows nothing. At the bound the one not asked for for the longest
// is forgotten: it is looked up again. Only under the lock.
func (s *Session) remember(a ask) *download {
	i := slices.IndexFunc(s.downloads, func(d *download) bool { return d.ask == a })
	d := &download{ask: a}
	switch {
	case i >= 0:
		d = s.downloads[i]
		s.downloads = slices.Delete(s.downloads, i, i+1)
	case len(s.downloads) >= s.hub.rules.Downloads:
		s.downloads = slices.Delete(s.downloads, 0, 1)
	}
	s.downloads = append(s.downloads, d)
	return d
}

// requestChunk takes a request for a chunk of a package on: payload is the chunk size, or empty for the one given before, and
// without any the whole package is meant (device-api §1.12).
func (s *Session) requestChunk(ctx context.Context, m, before *message, r topic.Route, payload []byte) Verdict {
	n, err := strconv.ParseInt(string(r.Chunk), 10, 64)
	size := int64(0)
	if err == nil && len(payload) > 0 {
		size, err = strconv.ParseInt(string(payload), 10, 64)
	}
	if err != nil || size < 0 || len(payload) > 0 && size == 0 {
		return s.conclude(m, s.outcomeOf(errChunk, m.qos))
	}
	if !s.beginRead() {
		s.withdraw(m, before)
		return Pause
	}
	a := ask{r.Action, string(r.ID)}
	s.hub.reads.Go(func() {
		s.sendChunk(ctx, m, a, size, n)
		s.endRead()
	})
	return More
}

// packageFault is what a client is told on topic.PackageError, before its connection ends.
type packageFault struct {
	text string
	fate Fate
}

func (f *packageFault) Error() string { return f.text }

var (
	errNoPackage       = &packageFault{"NOT_FOUND", NoPackage}
	errPackageElse     = &packageFault{"FAILURE", NoPackage} // its data is at a URL
	errPackageTooLarge = &packageFault{"PAYLOAD_TOO_LARGE", TooLarge}
)

// sendChunk acknowledges m and sends the chunk it asks for, or says what is wrong.
func (s *Session) sendChunk(ctx context.Context, m *message, a ask, size, n int64) {
	d, err := s.readChunk(ctx, a, size, n)
	var wrong *packageFault
	switch {
	case errors.As(err, &wrong):
		s.mu.Lock()
		s.send(topic.ErrorsFilter, topic.PackageError, []byte(wrong.text))
		s.mu.Unlock()
		s.conclude(m, outcome{fate: wrong.fate, reason: packet.ImplementationError, fatal: true})
	case err != nil:
		s.conclude(m, s.outcomeOf(err, m.qos))
	default:
		s.finish(m, outcome{fate: Answered})
		s.mu.Lock()
		defer s.mu.Unlock()
		d.qos = s.qosOf(topic.ChunksFilter(a.action))
		s.deliver(d)
	}
}

// readChunk makes the message that carries the n-th chunk. It asks the platform.
func (s *Session) readChunk(ctx context.Context, a ask, size, n int64) (d delivery, err error) {
	d.topic = topic.PackageChunk(a.action, a.id, strconv.FormatInt(n, 10))
	size, p, err := s.findDownload(ctx, a, size)
	if err != nil {
		return d, err
	}
	offset, length := int64(0), p.Size
	switch {
	case size == 0 && n > 0:
		offset = p.Size // beyond the one chunk there is
	case size == 0:
		if p.Size > int64(s.hub.rules.PackageBytes) {
			return d, errPackageTooLarge
		}
	case n > p.Size/size:
		offset = p.Size
	default:
		offset, length = n*size, size
	}
	length = min(length, p.Size-offset)
	if s.packetMaximum > 0 && int64(packet.PublishSize(s.version, 1, d.topic, nil))+4+length > int64(s.packetMaximum) {
		return d, errPackageTooLarge
	}
	if length > int64(s.hub.rules.PacketBytes) {
		d.whole = &wholePackage{p, s.whileOpen(ctx)}
		return d, nil
	}
	d.payload, err = s.hub.platform.ReadPackage(ctx, p, offset, length)
	if err == nil && int64(len(d.payload)) != length {
		err = errPackageShort
	}
	return d, err
}

var (
	errPackageShort = fault.New(fault.Unavailable, "the package's data is shorter than it should be")
	errChunk        = fault.New(fault.Invalid, "a chunk's number and size must be decimal numbers, the size above 0")
)

// findDownload returns the chunk size that applies, and the package.
func (s *Session) findDownload(ctx context.Context, a ask, given int64) (size int64, p transport.Package, err error) {
	s.mu.Lock()
	d := s.remember(a)
	if given > 0 {
		d.size = given
	}
	size = d.size
	found := d.found
	s.mu.Unlock()
	if size > int64(s.hub.rules.PacketBytes) {
		return 0, p, errPackageTooLarge
	}
	if found == nil {
		kind := sluicepb.PackageType_FIRMWARE
		if a.action == topic.SoftwareChunk {
			kind = sluicepb.PackageType_SOFTWARE
		}
		p, err := s.hub.platform.FindPackage(ctx, s.device, kind)
		if fault.KindOf(err) == fault.NotFound {
			return 0, p, errNoPackage
		}
		if err != nil {
			return 0, p, err
		}
		found = &p
		s.mu.Lock()
		d.found = found
		s.mu.Unlock()
	}
	if found.URL != "" {
		return 0, p, errPackageElse
	}
	return size, *found, nil
}
