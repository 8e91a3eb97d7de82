package secure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

// records is a connection's record layer once its handshake is done. Data goes through it alone, both ways. Everything else is still
// the library's; what that sends is sealed again here, so that every number is used once.
type records struct {
	agreed   // written by the handshake's goroutine
	transmit func(exchange.Endpoint, []byte)

	sending  sync.Mutex
	out      direction
	next     uint64            // the number of the next record to be sent
	finished []byte            // the library's last record before the records were ours
	peer     exchange.Endpoint // where the peer is
	ours     bool

	taking sync.Mutex
	in     direction
	seen   window
	open   bool
	early  []arrived // what may be data and came before
}

// Write takes the secret that was agreed upon, which the library says as a line for a log: a label, the client's random bytes, the secret.
func (r *records) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return 0, errNothingAgreed
	}
	random, err := hex.AppendDecode(nil, fields[1])
	if err != nil {
		return 0, err
	}
	master, err := hex.AppendDecode(nil, fields[2])
	if err != nil {
		return 0, err
	}
	r.clientRandom, r.master = random, master
	return len(line), nil
}

// hello takes what the server's hello says.
func (r *records) hello(m handshake.MessageServerHello) handshake.Message {
	random := m.Random.MarshalFixed()
	r.serverRandom = random[:]
	r.suite = dtls.CipherSuiteID(*m.CipherSuiteID)
	r.cid = nil
	for _, e := range m.Extensions {
		if id, ok := e.(*extension.ConnectionID); ok && len(id.CID) == cidSize {
			r.cid = bytes.Clone(id.CID)
		}
	}
	return &m
}

var errNotOurs = errors.New("the keys are not those that the handshake ended with")

// take has the records be ours from now on. That the keys are right, the library's last record tells, which they must open.
func (r *records) take() error {
	in, out, err := r.directions()
	if err != nil {
		return err
	}
	r.sending.Lock()
	defer r.sending.Unlock()
	if len(r.finished) > 0 && r.finished[0] == typeCID {
		// How long the peer's id is, the record does not say. But it is the last of its datagram, and what it holds is known.
		size := len(r.finished) - headerSize - finishedSize - 1 - out.aead.Overhead()
		if len(out.iv) == shortIV {
			size -= explicitSize
		}
		if size <= 0 {
			return errNotOurs
		}
		out.cid = bytes.Clone(r.finished[cidAt : cidAt+size])
	}
	record, _, ok := cut(r.finished, len(out.cid))
	if !ok {
		return errNotOurs
	}
	if _, kind, ok := out.open(nil, record); !ok || kind != typeHandshake {
		return errNotOurs
	}
	r.in, r.out, r.ours, r.finished = in, out, true, nil
	r.agreed = agreed{}
	return nil
}

// finishedSize is how long the message is that ends a handshake, with its header (RFC 5246 §7.4.9, RFC 6347 §4.2.2).
const finishedSize = 12 + 12

// pass transmits a datagram of the library's, once the records are ours with other numbers.
func (r *records) pass(datagram []byte) {
	r.sending.Lock()
	defer r.sending.Unlock()
	if !r.ours {
		r.note(datagram)
		r.transmit(r.peer, datagram)
		return
	}
	var again []byte
	for {
		record, rest, ok := cut(datagram, len(r.out.cid))
		if !ok {
			break
		}
		if numberOf(record)>>epochShift == 0 {
			again = append(again, record...)
		} else if content, kind, ok := r.out.open(nil, record); ok && r.next <= lastNumber {
			again = r.out.seal(again, kind, r.next, content)
			r.next++
		}
		datagram = rest
	}
	if len(again) > 0 {
		r.transmit(r.peer, again)
	}
}

// note keeps what take has to know of the library's records.
func (r *records) note(datagram []byte) {
	for {
		if len(datagram) >= headerSize && numberOf(datagram)>>epochShift == 1 {
			r.finished = bytes.Clone(datagram)
			r.next = max(r.next, numberOf(datagram)+1)
			return
		}
		var ok bool
		if _, datagram, ok = cut(datagram, 0); !ok {
			return
		}
	}
}

// send transmits data; false: the records are not ours yet, or there can be no more.
func (r *records) send(data []byte) bool {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	r.sending.Lock()
	defer r.sending.Unlock()
	if !r.ours || r.next > lastNumber {
		return false
	}
	*buffer = r.out.seal((*buffer)[:0], typeData, r.next, data)
	r.next++
	r.transmit(r.peer, *buffer)
	return true
}

// read appends the data of a record to to. other: it is no data, and for the library. That answers some of what strangers can make with
// an alert, which ends the connection, so what is not the peer's is kept from it: but for messages of the handshake in the clear, which
// may be the peer's last ones again, as long as it sent no data. Once it does, it heard how the handshake ended.
func (r *records) read(to, record []byte, from exchange.Endpoint) (data []byte, ok, other bool) {
	number := numberOf(record)
	r.taking.Lock()
	defer r.taking.Unlock()
	if number>>epochShift == 0 {
		return nil, false, record[0] == typeHandshake && r.seen.next == 0
	}
	if number>>epochShift != 1 || !r.seen.fresh(number) {
		return nil, false, false
	}
	data, kind, ok := r.in.open(to, record)
	if !ok || kind != typeData {
		return nil, false, ok
	}
	if r.seen.mark(number) && r.in.cid != nil {
		r.sending.Lock()
		r.peer = from // (RFC 9146 §6)
		r.sending.Unlock()
	}
	return data, true, false
}

// hold reports whether data is not taken yet. Then it keeps a copy of what may be some in d for later.
func (r *records) hold(d arrived) bool {
	r.taking.Lock()
	defer r.taking.Unlock()
	if !r.open && len(r.early) < earlyDatagrams {
		if rest := fromData(d.bytes); rest != nil {
			r.early = append(r.early, arrived{d.from, bytes.Clone(rest)})
		}
	}
	return !r.open
}

// start has data be taken from now on, and returns what came before.
func (r *records) start() []arrived {
	r.taking.Lock()
	defer r.taking.Unlock()
	early := r.early
	r.open, r.early = true, nil
	return early
}

// earlyDatagrams is how many datagrams that may hold data wait for the end of a handshake; more are dropped. A device has one request
// in hand at a time.
const earlyDatagrams = 4

// fromData is datagram from the first record on that may be data; nil: there is none.
func fromData(datagram []byte) []byte {
	for {
		record, rest, ok := cut(datagram, cidSize)
		if !ok {
			return nil
		}
		if (record[0] == typeData || record[0] == typeCID) && numberOf(record)>>epochShift == 1 {
			return datagram
		}
		datagram = rest
	}
}

// buffers are for one record each.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 2048)) }}
