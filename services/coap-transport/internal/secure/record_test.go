package secure

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/pion/dtls/v3"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
)

// somethingAgreed is what a handshake might have ended with.
func somethingAgreed(suite dtls.CipherSuiteID, cid []byte) *agreed {
	return &agreed{
		suite: suite, clientRandom: bytes.Repeat([]byte{1}, 32), serverRandom: bytes.Repeat([]byte{2}, 32),
		master: bytes.Repeat([]byte{3}, 48), cid: cid,
	}
}

// ends are the records of a server and what its peer seals and opens by.
func ends(t testing.TB, suite dtls.CipherSuiteID, cid, peersCID []byte) (r *records, peerIn, peerOut direction, sent *[][]byte) {
	t.Helper()
	a := somethingAgreed(suite, cid)
	peerOut, peerIn, err := a.directions()
	if err != nil {
		t.Fatal(err)
	}
	library := peerIn
	peerIn.cid, library.cid = peersCID, peersCID
	sent = new([][]byte)
	r = &records{agreed: *a, transmit: func(_ exchange.Endpoint, d []byte) { *sent = append(*sent, bytes.Clone(d)) }}
	changeCipher := []byte{typeChangeCipher, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 1}
	r.pass(library.seal(changeCipher, typeHandshake, 1<<epochShift, make([]byte, finishedSize)))
	if err := r.take(); err != nil {
		t.Fatal(err)
	}
	*sent = nil
	return r, peerIn, peerOut, sent
}

func eachProtection(t *testing.T, check func(t *testing.T, suite dtls.CipherSuiteID, cid, peersCID []byte)) {
	for _, suite := range suites {
		for _, cid := range [][]byte{nil, []byte("12345678")} {
			for _, peersCID := range [][]byte{nil, {0}, bytes.Repeat([]byte{9}, 255)} {
				t.Run(fmt.Sprintf("%s/%d/%d", dtls.CipherSuiteName(suite), len(cid), len(peersCID)), func(t *testing.T) { check(t, suite, cid, peersCID) })
			}
		}
	}
}

// TestEverySuiteHasItsProtection: what is offered can be served.
func TestEverySuiteHasItsProtection(t *testing.T) {
	if len(protections) != len(suites) {
		t.Errorf("%d suites, %d protections", len(suites), len(protections))
	}
	eachProtection(t, func(t *testing.T, suite dtls.CipherSuiteID, cid, peersCID []byte) {
		r, in, out, sent := ends(t, suite, cid, peersCID)
		for i, text := range []string{"a reading", "", string(make([]byte, 3000))} {
			record := out.seal(nil, typeData, 1<<epochShift|uint64(i+1), []byte(text))
			if data, ok, _ := r.read(nil, record, exchange.Endpoint{}); !ok || string(data) != text {
				t.Fatalf("%q came as %q, %v", text, data, ok)
			}
			if !r.send([]byte(text)) {
				t.Fatal("not sent")
			}
			data, kind, ok := in.open(nil, (*sent)[i])
			if !ok || kind != typeData || string(data) != text {
				t.Fatalf("%q went as %q, %d, %v", text, data, kind, ok)
			}
		}
	})
}

// TestNothingIsTakenThatWasChanged: not one bit of a record may differ.
func TestNothingIsTakenThatWasChanged(t *testing.T) {
	eachProtection(t, func(t *testing.T, suite dtls.CipherSuiteID, cid, peersCID []byte) {
		r, _, out, _ := ends(t, suite, cid, peersCID)
		record := out.seal(nil, typeData, 1<<epochShift|1, []byte("a reading"))
		for at := range record {
			changed := bytes.Clone(record)
			changed[at] ^= 1
			if record, _, whole := cut(changed, len(cid)); whole {
				if data, ok, _ := r.read(nil, record, exchange.Endpoint{}); ok {
					t.Errorf("with another byte %d: %q", at, data)
				}
			}
		}
		for size := headerSize; size < len(record); size++ {
			if data, ok, _ := r.read(nil, record[:size], exchange.Endpoint{}); ok {
				t.Errorf("%d bytes of it: %q", size, data)
			}
		}
		if _, ok, _ := r.read(nil, record, exchange.Endpoint{}); !ok {
			t.Error("the record itself is refused after that")
		}
		for _, number := range []uint64{2, 2<<epochShift | 2} {
			if data, ok, _ := r.read(nil, out.seal(nil, typeData, number, []byte("x")), exchange.Endpoint{}); ok {
				t.Errorf("of epoch %d: %q", number>>epochShift, data)
			}
		}
	})
}

// TestNumbersAreUsedOnce: ours and the library's records, whatever the library numbers them.
func TestNumbersAreUsedOnce(t *testing.T) {
	for _, peersCID := range [][]byte{nil, []byte("peer")} {
		r, in, _, sent := ends(t, suites[0], nil, peersCID)
		library := in
		for i := range 3 {
			r.send([]byte("data"))
			// Its last flight again, and an alert, with the number that it believes to be next.
			r.pass(library.seal([]byte{typeChangeCipher, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, byte(6 + i), 0, 1, 1}, typeHandshake, 1<<epochShift|1, []byte("finished")))
			r.pass(library.seal(nil, 21, 1<<epochShift|2, []byte{1, 0}))
		}
		var numbers []uint64
		var kinds []byte
		for _, d := range *sent {
			for len(d) > 0 {
				record, rest, ok := cut(d, len(peersCID))
				if !ok {
					t.Fatalf("% x", d)
				}
				d = rest
				if numberOf(record)>>epochShift == 0 {
					continue
				}
				_, kind, ok := in.open(nil, record)
				if !ok {
					t.Fatalf("the peer cannot open % x", record)
				}
				kinds = append(kinds, kind)
				numbers = append(numbers, numberOf(record))
			}
		}
		if want := bytes.Repeat([]byte{typeData, typeHandshake, 21}, 3); !bytes.Equal(kinds, want) {
			t.Errorf("kinds %v, want %v", kinds, want)
		}
		for i, number := range numbers {
			if want := uint64(1<<epochShift | i + 1); number != want {
				t.Errorf("record %d has the number %x, want %x", i, number, want)
			}
		}
	}
}

// TestNumbersAreUsedOnceByAll who send at a time.
func TestNumbersAreUsedOnceByAll(t *testing.T) {
	r, library, _, sent := ends(t, suites[0], nil, nil)
	alert := library.seal(nil, 21, 1<<epochShift|1, []byte{1, 0})
	var sending sync.WaitGroup
	for range 4 {
		sending.Go(func() {
			for range 50 {
				r.send([]byte("data"))
				r.pass(alert)
			}
		})
	}
	sending.Wait()
	numbers := map[uint64]bool{1 << epochShift: true} // the handshake's
	for _, d := range *sent {
		numbers[numberOf(d)] = true
	}
	if len(*sent) != 400 || len(numbers) != 401 {
		t.Errorf("%d sent, %d numbers", len(*sent), len(numbers))
	}
}

func TestNumbersEnd(t *testing.T) {
	r, _, _, sent := ends(t, suites[0], nil, nil)
	r.next = lastNumber
	if !r.send([]byte("the last")) || r.send([]byte("one more")) {
		t.Error("not one more")
	}
	r.pass((*sent)[0])
	if len(*sent) != 1 {
		t.Errorf("%d sent", len(*sent))
	}
}

// TestOtherKeysAreNoticed: records are not ours if the last one of the handshake says that the keys are others.
func TestOtherKeysAreNoticed(t *testing.T) {
	for name, spoil := range map[string]func(r *records){
		"secret": func(r *records) { r.master[0]++ }, "random": func(r *records) { r.serverRandom[0]++ }, "nothing sent": func(r *records) { r.finished = nil },
		"suite": func(r *records) { r.suite = suites[2] }, "no suite": func(r *records) { r.suite = 0 }, "no secret": func(r *records) { r.master = nil },
		"short": func(r *records) { r.finished = r.finished[:20] }, "no room for an id": func(r *records) { r.finished[0] = typeCID },
	} {
		a := somethingAgreed(suites[0], nil)
		_, library, err := a.directions()
		if err != nil {
			t.Fatal(err)
		}
		r := &records{agreed: *a, transmit: func(exchange.Endpoint, []byte) {}}
		r.pass(library.seal(nil, typeHandshake, 1<<epochShift, make([]byte, finishedSize)))
		spoil(r)
		if err := r.take(); err == nil || r.ours || r.send([]byte("x")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatIsNoDataIsTheLibrarys: alerts, and the handshake again, whose number stays fresh. What the peer did not seal is nobody's, but for
// the handshake in the clear until there was data.
func TestWhatIsNoDataIsTheLibrarys(t *testing.T) {
	for _, cid := range [][]byte{nil, []byte("12345678")} {
		r, _, out, _ := ends(t, suites[0], cid, nil)
		for range 2 {
			for _, kind := range []byte{typeChangeCipher, 21, typeHandshake} {
				if _, ok, other := r.read(nil, out.seal(nil, kind, 1<<epochShift|7, []byte{1, 0}), exchange.Endpoint{}); ok || !other {
					t.Errorf("kind %d: %v, %v", kind, ok, other)
				}
			}
		}
		for _, afterData := range []bool{false, true} {
			for kind := byte(typeChangeCipher); kind < typeCID; kind++ {
				for epoch := range byte(3) {
					plain := []byte{kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, 0, 1, 2}
					want := kind == typeHandshake && epoch == 0 && !afterData
					if _, ok, other := r.read(nil, plain, exchange.Endpoint{}); ok || other != want {
						t.Errorf("kind %d of epoch %d in the clear, after data %v: %v, %v", kind, epoch, afterData, ok, other)
					}
				}
			}
			if _, ok, _ := r.read(nil, out.seal(nil, typeData, 1<<epochShift|6, []byte("x")), exchange.Endpoint{}); ok == afterData {
				t.Errorf("data, after it %v: %v", afterData, ok)
			}
		}
		// Without an id where one is due, or with one where none is, it is nobody's.
		stranger := out
		if stranger.cid = nil; cid == nil {
			stranger.cid = []byte("12345678")
		}
		if _, ok, other := r.read(nil, stranger.seal(nil, typeData, 1<<epochShift|8, []byte("x")), exchange.Endpoint{}); ok || other {
			t.Errorf("id where none is due, or none: %v, %v", ok, other)
		}
	}
}

func TestPadding(t *testing.T) {
	r, _, out, _ := ends(t, suites[0], []byte("12345678"), nil)
	pad := func(number uint64, inner []byte) []byte {
		// The last byte is the kind: as a kind of zero it is the last of the padding.
		return out.seal(nil, inner[len(inner)-1], number, inner[:len(inner)-1])
	}
	if data, ok, _ := r.read(nil, pad(1<<epochShift|1, []byte{'x', 0, typeData, 0, 0, 0}), exchange.Endpoint{}); !ok || string(data) != "x\x00" {
		t.Errorf("%q, %v", data, ok)
	}
	if _, ok, other := r.read(nil, pad(1<<epochShift|2, make([]byte, 5)), exchange.Endpoint{}); ok || other {
		t.Errorf("nothing but padding: %v, %v", ok, other)
	}
}

func TestWindow(t *testing.T) {
	const first = 1 << epochShift
	var w window
	for _, c := range []struct {
		number        uint64
		fresh, latest bool
	}{
		{3, true, true},
		{3, false, false},
		{1, true, false},
		{1, false, false},
		{0, true, false},
		{66, true, true},
		{3, false, false},
		{2, false, false},
		{4, true, false},
		{65, true, false},
		{65, false, false},
		{67, true, true},
		{66, false, false},
		{3, false, false},
		{4, false, false},
		{5, true, false},
		{1000, true, true},
		{67, false, false},
		{999, true, false},
		{937, true, false},
		{936, false, false},
		{1<<48 - 1, true, true},
		{1000, false, false},
		{1<<48 - 1, false, false},
	} {
		fresh := w.fresh(first + c.number)
		if fresh != c.fresh {
			t.Fatalf("%d: fresh %v", c.number, fresh)
		}
		if fresh && w.mark(first+c.number) != c.latest {
			t.Fatalf("%d: latest %v", c.number, !c.latest)
		}
	}
}

// FuzzWindow holds the window to a set of all that came.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 140, 3})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var w window
		came := map[uint64]bool{}
		at := uint64(1 << epochShift)
		for _, step := range steps {
			number := at + uint64(step) - 100
			recent := len(came) == 0 || number+windowSize > slices.Max(keys(came))
			if want := recent && !came[number]; w.fresh(number) != want {
				t.Fatalf("%d after %v: fresh %v", number, came, !want)
			} else if want {
				w.mark(number)
				came[number] = true
			}
			at = max(at, number)
		}
	})
}

func keys(set map[uint64]bool) (all []uint64) {
	for k := range set {
		all = append(all, k)
	}
	return all
}

// FuzzRead: only what the peer sealed is data, and nothing of a datagram makes reading fail.
func FuzzRead(f *testing.F) {
	f.Add([]byte{typeData, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 3, 1, 2, 3}, false)
	f.Add(append([]byte{typeCID, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1}, "12345678\x00\x20aaaaaaaabbbbbbbbbbbbbbbbcccccccc"...), true)
	f.Fuzz(func(t *testing.T, datagram []byte, identified bool) {
		var cid []byte
		if identified {
			cid = []byte("12345678")
		}
		for _, suite := range []dtls.CipherSuiteID{suites[0], suites[4], suites[7]} {
			r, in, out, sent := ends(t, suite, cid, cid)
			_, genuine := datagram, out.seal(nil, typeData, 1<<epochShift|5, datagram)
			r.pass(datagram)
			for _, d := range *sent {
				for len(d) > 0 {
					record, rest, ok := cut(d, len(cid))
					if !ok {
						t.Fatalf("sent % x", d)
					}
					if _, _, opens := in.open(nil, record); numberOf(record)>>epochShift != 0 && !opens {
						t.Fatalf("sent % x", record)
					}
					d = rest
				}
			}
			for d := datagram; ; {
				record, rest, ok := cut(d, cidSize)
				if !ok {
					break
				}
				if data, ok, _ := r.read(nil, record, exchange.Endpoint{}); ok {
					t.Fatalf("% x is %q", record, data)
				}
				d = rest
			}
			if len(datagram) > 1<<14 {
				continue
			}
			if data, ok, _ := r.read(nil, genuine, exchange.Endpoint{}); !ok || !bytes.Equal(data, datagram) {
				t.Fatalf("% x came as % x, %v", datagram, data, ok)
			}
		}
	})
}

// TestWhatCameEarly waits for the end of the handshake, some of it.
func TestWhatCameEarly(t *testing.T) {
	r, _, out, _ := ends(t, suites[0], nil, nil)
	finished := out.seal(nil, typeHandshake, 1<<epochShift, []byte("finished"))
	if !r.hold(arrived{bytes: finished}) {
		t.Fatal("it was ready at once")
	}
	for i := range earlyDatagrams + 1 {
		datagram := out.seal(bytes.Clone(finished), typeData, 1<<epochShift|uint64(i+1), []byte{byte(i)})
		if !r.hold(arrived{bytes: datagram}) {
			t.Fatal("it was ready at once")
		}
		clear(datagram) // it was the caller's
	}
	early := r.start()
	if len(early) != earlyDatagrams {
		t.Fatalf("%d waited", len(early))
	}
	for i, d := range early {
		data, ok, _ := r.read(nil, d.bytes, exchange.Endpoint{})
		if !ok || len(data) != 1 || data[0] != byte(i) {
			t.Errorf("%d: %v", i, data)
		}
	}
	if r.hold(arrived{bytes: finished}) {
		t.Error("it waits for ever")
	}
}

// TestThePeerIsWhereItsLatestRecordCameFrom, if it has an id to be known by (RFC 9146 §6).
func TestThePeerIsWhereItsLatestRecordCameFrom(t *testing.T) {
	for _, c := range []struct {
		cid  []byte
		want []int
	}{{[]byte("12345678"), []int{1, 2, 2, 2}}, {nil, []int{0, 0, 0, 0}}} {
		r, _, out, _ := ends(t, suites[0], c.cid, nil)
		var at []int
		r.transmit = func(to exchange.Endpoint, _ []byte) { at = append(at, to.Socket) }
		for i, number := range []uint64{10, 12, 11, 12} { // the last is a replay
			r.read(nil, out.seal(nil, typeData, 1<<epochShift|number, []byte("x")), exchange.Endpoint{Socket: i + 1})
			forged := out.seal(nil, typeData, 1<<epochShift|20, []byte("x"))
			forged[len(forged)-1]++
			r.read(nil, forged, exchange.Endpoint{Socket: 9})
			r.send([]byte("x"))
		}
		if !slices.Equal(at, c.want) {
			t.Errorf("id %q: answered at %v, want %v", c.cid, at, c.want)
		}
	}
}

// TestOneDatagramIsOneForTheLibrary, which answers each that it gets with its last flight.
func TestOneDatagramIsOneForTheLibrary(t *testing.T) {
	r, _, out, _ := ends(t, suites[0], nil, nil)
	r.start()
	one := &session{inbox: make(chan arrived, 4), of: &Server{}}
	one.records.in, one.records.open = r.in, true
	plain := []byte{typeHandshake, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0}
	flight := out.seal(append(bytes.Clone(plain), plain...), typeHandshake, 1<<epochShift|1, []byte("finished"))
	if !one.receive(exchange.Endpoint{}, flight) || len(one.inbox) != 1 {
		t.Fatalf("%d wait", len(one.inbox))
	}
	if d := <-one.inbox; !bytes.Equal(d.bytes, flight) {
		t.Errorf("% x", d.bytes)
	}
}

// TestTheLibraryGetsSoMuch: pieces of messages do not pile up in it.
func TestTheLibraryGetsSoMuch(t *testing.T) {
	one := &session{inbox: make(chan arrived, 1)}
	datagram, got := make([]byte, 1000), 0
	for range 2 * libraryBytes / len(datagram) {
		one.receive(exchange.Endpoint{}, datagram)
		select {
		case d := <-one.inbox:
			got += len(d.bytes)
		default:
		}
	}
	if got > libraryBytes || got < libraryBytes-len(datagram) {
		t.Errorf("%d bytes", got)
	}
}

func TestSecretsAreRead(t *testing.T) {
	var r records
	for _, line := range []string{"", "CLIENT_RANDOM 00", "CLIENT_RANDOM zz 00", "CLIENT_RANDOM 00 zz"} {
		if _, err := r.Write([]byte(line)); err == nil || r.master != nil {
			t.Errorf("%q is accepted", line)
		}
	}
	if _, err := fmt.Fprintf(&r, "CLIENT_RANDOM %x %x\n", []byte("random"), []byte("secret")); err != nil || string(r.clientRandom) != "random" || string(r.master) != "secret" {
		t.Errorf("%q, %q, %v", r.clientRandom, r.master, err)
	}
}

// BenchmarkRecord is one request's record in and its answer's out.
func BenchmarkRecord(b *testing.B) {
	for _, suite := range []dtls.CipherSuiteID{dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256, dtls.TLS_PSK_WITH_AES_128_CCM_8} {
		for _, cid := range [][]byte{nil, []byte("12345678")} {
			b.Run(fmt.Sprintf("%s/%d", dtls.CipherSuiteName(suite), len(cid)), func(b *testing.B) {
				r, _, out, _ := ends(b, suite, cid, cid)
				r.transmit = func(exchange.Endpoint, []byte) {}
				request, answer, buffer := make([]byte, 100), make([]byte, 12), make([]byte, 0, 200)
				rand.Read(request)
				records := make([][]byte, 1<<10)
				for i := range records {
					records[i] = out.seal(nil, typeData, 1<<epochShift|uint64(i), request)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%len(records) == 0 {
						r.seen = window{}
					}
					if _, ok, _ := r.read(buffer, records[i%len(records)], exchange.Endpoint{}); !ok {
						b.Fatal("not taken")
					}
					r.send(answer)
				}
			})
		}
	}
}

// TestCut: a record is as long as it says, or is none.
func TestCut(t *testing.T) {
	head := func(kind byte, size uint16) []byte {
		return binary.BigEndian.AppendUint16([]byte{kind, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0}, size)
	}
	two := append(append(head(typeData, 2), 1, 2), head(typeData, 0)...)
	record, rest, ok := cut(two, cidSize)
	if !ok || len(record) != 15 || len(rest) != 13 || cap(record) != 15 {
		t.Errorf("% x, % x, %v", record, rest, ok)
	}
	for _, d := range [][]byte{nil, head(typeData, 1), head(typeData, 0)[:12], head(typeCID, 0), append(head(typeCID, 0), 1, 2, 3, 4, 5, 6, 7)} {
		if record, _, ok := cut(d, cidSize); ok {
			t.Errorf("% x is % x", d, record)
		}
	}
	if record, rest, ok := cut(append(append(head(typeCID, 0)[:11], "12345678"...), 0, 1, 'x', 'y'), cidSize); !ok || len(record) != 22 || string(rest) != "y" {
		t.Errorf("% x, % x, %v", record, rest, ok)
	}
}
