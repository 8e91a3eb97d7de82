package resource

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"strings"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/form"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/observe"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/route"
	"github.com/sluice-iot/sluice/transport"
)

// seed makes digests of resources ones that nobody outside can aim at.
var seed = maphash.MakeSeed()

// digest names what is read of a device, so that the blocks of one body are found together.
func (w *work) digest() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.Write(w.device.ID.ID[:])
	what := byte(w.request.Action)
	if what == byte(route.ObserveAttributes) {
		what = byte(route.ReadAttributes)
	}
	h.WriteByte(what)
	for _, part := range [][]byte{w.request.ClientKeys, w.request.SharedKeys} {
		h.WriteByte(0)
		h.Write(part)
	}
	return h.Sum64()
}

// uploadDigest names an upload: its device, what it is for, and the tag that tells it from others (RFC 9175 §3).
func (w *work) uploadDigest() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.Write(w.device.ID.ID[:])
	h.WriteByte(byte(w.request.Action))
	maphash.WriteComparable(&h, w.request.ID)
	h.Write(w.request.RequestTag)
	return h.Sum64()
}

func (w *work) readAttributes(ctx context.Context) {
	digest := w.digest()
	if w.request.HasBlock2 && w.request.Block2.Number > 0 {
		if body := w.r.Bodies.Find(w.x.Endpoint(), digest); body != nil {
			w.send(exchange.Answer{Code: packet.Content}, body, digest)
			return
		}
	}
	found, err := w.r.Platform.ReadAttributes(ctx, w.device, w.query())
	if err != nil {
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	if len(found.Client) == 0 && len(found.Shared) == 0 {
		w.answer(exchange.Answer{Code: packet.NotFound})
		return
	}
	w.send(exchange.Answer{Code: packet.Content}, form.Attributes(w.device, found.Client, found.Shared), digest)
}

// query is what to read: the named keys, everything when none are named.
func (w *work) query() transport.AttributeQuery {
	if !w.request.HasClientKeys && !w.request.HasSharedKeys {
		return transport.AttributeQuery{AllClient: true, AllShared: true}
	}
	return transport.AttributeQuery{ClientKeys: split(w.request.ClientKeys), SharedKeys: split(w.request.SharedKeys)}
}

func split(keys []byte) []string {
	if len(keys) == 0 {
		return nil
	}
	return strings.Split(string(keys), ",")
}

// tagSize is how many bytes of a body's hash tell it from another of the same resource.
const tagSize = 8

// send answers with body in a's form: whole if it fits, else the block that was asked for, the rest being kept under digest.
func (w *work) send(a exchange.Answer, body []byte, digest uint64) {
	a.HasFormat, a.ContentFormat = true, w.format()
	b := w.block()
	if b.Number == 0 && len(body) <= b.Size() {
		a.Payload = body
		if w.request.HasBlock2 {
			a.HasBlock2, a.Block2 = true, b.Value()
		}
		w.answer(a)
		return
	}
	at := int(b.Number) * b.Size()
	if at >= len(body) {
		w.answer(exchange.Answer{Code: packet.BadRequest})
		return
	}
	if b.Number == 0 {
		w.r.Bodies.Keep(w.x.Endpoint(), digest, body)
	}
	end := min(len(body), at+b.Size())
	tag := sha256.Sum256(body)
	b.More = end < len(body)
	a.ETag, a.Payload = tag[:tagSize], body[at:end]
	a.HasBlock2, a.Block2, a.Size2 = true, b.Value(), uint32(len(body))
	w.answer(a)
}

// block is the block to answer with: what was asked for, or the first of ours. Of too large a one the first is cut smaller.
func (w *work) block() packet.Block {
	ours := packet.ExponentOf(w.r.limits.AnswerBytes)
	b := w.request.Block2
	b.More = false
	switch {
	case !w.request.HasBlock2:
		return packet.Block{Exponent: ours}
	case b.Exponent > ours:
		b.Number <<= b.Exponent - ours
		b.Exponent = ours
	}
	return b
}

// observe begins or ends an observation (device-api §4.2).
func (w *work) observe(ctx context.Context) {
	kind := observe.Attributes
	if w.request.Action == route.ObserveRPC {
		kind = observe.Requests
	}
	target := observe.Target{
		Endpoint: w.x.Endpoint(), Token: w.x.Token(), Confirmable: w.confirmable, Format: w.format(),
		BlockExponent: w.block().Exponent, Digest: w.digest(),
	}
	switch {
	case w.request.HasBlock2 && w.request.Block2.Number > 0:
		w.rest()
		return
	case w.request.Cancel:
		w.r.Relations.End(w.device.ID, kind, target)
		w.answer(exchange.Answer{Code: packet.Deleted})
		return
	}
	begun, err := w.r.Relations.Begin(ctx, w.device, kind, target)
	if err != nil {
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	if kind == observe.Requests {
		w.answer(exchange.Answer{Code: packet.Valid, HasObserve: true, Observe: begun.Sequence})
		begun.Start()
		return
	}
	found, err := w.r.Platform.ReadAttributes(ctx, w.device, transport.AttributeQuery{AllShared: true})
	if err != nil {
		begun.Fail()
		w.answer(w.r.failed(waited(ctx, err)))
		return
	}
	first := exchange.Answer{Code: packet.Content, HasObserve: true, Observe: begun.Sequence}
	w.send(first, form.Shared(w.device, found.Shared), w.digest())
	begun.Start()
}

// rest answers with a further block of a notification.
func (w *work) rest() {
	body := w.r.Bodies.Find(w.x.Endpoint(), w.digest())
	if body == nil {
		w.answer(exchange.Answer{Code: packet.Incomplete})
		return
	}
	w.send(exchange.Answer{Code: packet.Content}, body, w.digest())
}
