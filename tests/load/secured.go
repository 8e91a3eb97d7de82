package load

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
)

// secured is a DTLS connection of a cheap client: a library's until the handshake is done, then a socket and two ciphers. It makes and
// checks every record as RFC 6347 and RFC 5288 have it, but for one thing that a client of a load test need not fear: it accepts
// records that were replayed.
type secured struct {
	*net.UDPConn
	library  *dtls.Conn
	shared   *shared
	out, in  cipher.AEAD
	outIV    []byte
	inIV     []byte
	received [recordBytes]byte

	mu       sync.Mutex // of what follows: a run that is over time closes its connections
	sequence uint64
	sent     [recordBytes]byte
	over     bool
}

const (
	recordBytes    = 1500
	recordHeader   = 13
	recordExplicit = 8 // bytes of the nonce, which are the record's number
	recordTag      = 16
	recordKey      = 16
	recordIV       = 4
	recordAlert    = 21
	recordData     = 23
	recordEpoch    = 1 << 48 // the first, and only, that is encrypted
)

// dialDTLS makes a connection. The server's certificate is not verified.
func dialDTLS(ctx context.Context, server *net.UDPAddr) (net.Conn, error) {
	socket, err := net.DialUDP("udp", nil, server)
	if err != nil {
		return nil, err
	}
	c := &secured{UDPConn: socket, shared: &shared{UDPConn: socket, parked: make(chan struct{}), closed: make(chan struct{})}}
	c.library, err = dtls.ClientWithOptions(c.shared, server,
		dtls.WithInsecureSkipVerify(true), dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256))
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	if err = c.library.HandshakeContext(ctx); err == nil {
		err = c.takeOver()
	}
	if err != nil {
		return nil, errors.Join(err, c.library.Close())
	}
	return c, nil
}

// takeOver goes on from where the handshake ended.
func (c *secured) takeOver() error {
	state, ok := c.library.ConnectionState()
	if !ok {
		return errors.New("the handshake is not done")
	}
	text, err := state.MarshalBinary()
	if err != nil {
		return err
	}
	var agreed struct {
		LocalRandom, RemoteRandom [32]byte
		MasterSecret              []byte
		SequenceNumber            uint64
	}
	if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&agreed); err != nil {
		return err
	}
	keys, err := prf.GenerateEncryptionKeys(agreed.MasterSecret, agreed.LocalRandom[:], agreed.RemoteRandom[:], 0, recordKey, recordIV, sha256.New)
	if err != nil {
		return err
	}
	if c.out, err = newGCM(keys.ClientWriteKey); err != nil {
		return err
	}
	if c.in, err = newGCM(keys.ServerWriteKey); err != nil {
		return err
	}
	c.outIV, c.inIV, c.sequence = keys.ClientWriteIV, keys.ServerWriteIV, agreed.SequenceNumber
	return c.shared.leave()
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Write sends data as one record.
func (c *secured) Write(data []byte) (int, error) { return len(data), c.send(recordData, data) }

func (c *secured) send(kind byte, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return net.ErrClosed
	}
	c.over = kind == recordAlert
	record := append(c.sent[:0], kind, 0xfe, 0xfd)
	record = binary.BigEndian.AppendUint64(record, recordEpoch|c.sequence)
	record = binary.BigEndian.AppendUint16(record, uint16(recordExplicit+len(data)+recordTag))
	record = binary.BigEndian.AppendUint64(record, recordEpoch|c.sequence)
	c.sequence++
	nonce, extra := protects(c.outIV, record, len(data))
	record = c.out.Seal(record, nonce[:], data, extra[:])
	_, err := c.UDPConn.Write(record)
	return err
}

// protects returns the nonce and the additional data of the record whose header is given.
func protects(iv, record []byte, size int) (nonce [recordIV + recordExplicit]byte, extra [recordHeader]byte) {
	copy(nonce[:], iv)
	copy(nonce[recordIV:], record[recordHeader:])
	copy(extra[:], record[3:11])
	copy(extra[8:], record[:3])
	binary.BigEndian.PutUint16(extra[11:], uint16(size))
	return nonce, extra
}

var errRecord = errors.New("a record that is not the server's")

// Read returns the data of the next record that has some.
func (c *secured) Read(into []byte) (int, error) {
	for {
		n, err := c.UDPConn.Read(c.received[:])
		if err != nil {
			return 0, err
		}
		record := c.received[:n]
		if n < recordHeader+recordExplicit+recordTag || binary.BigEndian.Uint64(record[3:])&^(recordEpoch-1) != recordEpoch {
			continue // of the handshake
		}
		body := record[recordHeader+recordExplicit:]
		nonce, extra := protects(c.inIV, record, len(body)-recordTag)
		data, err := c.in.Open(body[:0], nonce[:], body, extra[:])
		switch {
		case err != nil:
			return 0, errors.Join(errRecord, err)
		case record[0] == recordAlert:
			return 0, net.ErrClosed
		case record[0] == recordData:
			return copy(into, data), nil
		}
	}
}

// Close says goodbye to the server.
func (c *secured) Close() error {
	const warning, closeNotify = 1, 0
	return errors.Join(c.send(recordAlert, []byte{warning, closeNotify}), c.library.Close())
}

// shared is a socket that the library has until it is told to leave it.
type shared struct {
	*net.UDPConn
	left           atomic.Bool
	parked, closed chan struct{}
}

// leave returns when the library reads the socket no more.
func (s *shared) leave() error {
	s.left.Store(true)
	if err := s.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-s.parked
	return s.SetReadDeadline(time.Time{})
}

// ReadFrom implements net.PacketConn.
func (s *shared) ReadFrom(into []byte) (int, net.Addr, error) {
	if !s.left.Load() {
		if n, err := s.Read(into); !s.left.Load() {
			return n, s.RemoteAddr(), err
		}
	}
	close(s.parked)
	<-s.closed
	return 0, nil, net.ErrClosed
}

// WriteTo implements net.PacketConn. The library's records would have numbers that are used already.
func (s *shared) WriteTo(datagram []byte, _ net.Addr) (int, error) {
	if s.left.Load() {
		return len(datagram), nil
	}
	return s.Write(datagram)
}

// Close implements net.PacketConn.
func (s *shared) Close() error {
	close(s.closed)
	return s.UDPConn.Close()
}
