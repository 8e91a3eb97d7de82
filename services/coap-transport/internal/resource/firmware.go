package resource

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/route"
	"github.com/sluice-iot/sluice/transport"
)

// readPackage answers with a block of the firmware or software assigned to the device, or of a part of it (device-api §4.1).
func (w *work) readPackage(ctx context.Context) {
	p, ok := w.findPackage(ctx)
	if !ok {
		return
	}
	from, length := int64(0), p.Size
	if size := w.request.Size; size > 0 {
		from = min(w.request.Chunk*size, p.Size)
		length = min(size, p.Size-from)
	}
	b := w.block()
	at := int64(b.Number) * int64(b.Size())
	if at > 0 && at >= length {
		w.answer(exchange.Answer{Code: packet.BadRequest})
		return
	}
	data, err := w.r.Platform.ReadPackage(ctx, p, from+at, min(int64(b.Size()), length-at))
	if err != nil {
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	a := exchange.Answer{Code: packet.Content, HasFormat: true, ContentFormat: route.BinaryFormat, Payload: data}
	if length > int64(b.Size()) || w.request.HasBlock2 {
		b.More = at+int64(len(data)) < length
		a.HasBlock2, a.Block2, a.Size2 = true, b.Value(), uint32(length)
		a.ETag = p.ID[len(p.ID)-tagSize:]
	}
	w.answer(a)
}

// findPackage finds what is assigned, and keeps to it while its blocks are fetched; false: w is answered.
func (w *work) findPackage(ctx context.Context) (transport.Package, bool) {
	kind := sluicepb.PackageType_FIRMWARE
	if w.request.Action == route.ReadSoftware {
		kind = sluicepb.PackageType_SOFTWARE
	}
	name := fetch{w.device.ID, kind}
	p, known := transport.Package{}, false
	if w.request.HasBlock2 && w.request.Block2.Number > 0 {
		p, known = w.r.packages.find(name)
	}
	if !known {
		var err error
		if p, err = w.r.Platform.FindPackage(ctx, w.device, kind); err != nil {
			w.answer(w.r.failed(waited(ctx, err)))
			return p, false
		}
	}
	switch {
	case p.URL != "":
		w.answer(exchange.Answer{Code: packet.NotFound})
		return p, false
	case differs(w.request.Title, p.Title) || differs(w.request.Version, p.Version):
		w.answer(exchange.Answer{Code: packet.BadRequest})
		return p, false
	}
	w.r.packages.keep(name, p)
	return p, true
}

func differs(wanted []byte, is string) bool { return len(wanted) > 0 && string(wanted) != is }

// fetch names a transfer of a package.
type fetch struct {
	device ident.DeviceID
	kind   sluicepb.PackageType
}

// fetchFor is how long a package is remembered after its last block.
const fetchFor = 2 * time.Minute

// packages are those being fetched in blocks, so that not every block has to be asked about, and all are of one package. At the
// bound they are forgotten, and asked about again.
type packages struct {
	most int
	now  func() time.Duration

	mu     sync.Mutex
	byName map[fetch]fetched
}

type fetched struct {
	transport.Package
	until time.Duration
}

func (p *packages) find(name fetch) (transport.Package, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.byName[name]
	return f.Package, ok && f.until > p.now()
}

func (p *packages) keep(name fetch, found transport.Package) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byName) >= p.most {
		p.byName = nil
	}
	if p.byName == nil {
		p.byName = map[fetch]fetched{}
	}
	p.byName[name] = fetched{found, p.now() + fetchFor}
}
