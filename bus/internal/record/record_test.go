package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/sluice-iot/sluice/bus/internal/record"
)

var samples = []record.Record{
	{Offset: 0, TimeMS: 1_700_000_000_000, Key: []byte("k"), Value: []byte("v")},
	{Offset: 1, TimeMS: 1_700_000_000_005, Key: nil, Value: nil},
	{Offset: 2, TimeMS: 1_699_999_999_000, Key: []byte{}, Value: []byte{}},
	{Offset: 3, TimeMS: 1_700_000_000_006, Value: bytes.Repeat([]byte("x"), 70_000), Headers: []record.Header{{Key: "kind", Value: []byte("rule")}, {Key: "own", Value: nil}, {Key: "", Value: []byte{}}}},
}

func build(records []record.Record) *record.Batch {
	var b record.Batch
	for _, r := range records {
		b.Append(r.Key, r.Value, r.Headers, r.TimeMS)
	}
	return &b
}

// readAll copies what a set holds.
func readAll(s *record.Set) (all []record.Record, err error) {
	var r record.Record
	for {
		more, err := s.Next(&r)
		if err != nil || !more {
			return all, err
		}
		all = append(all, r)
	}
}

func TestBatchRoundTrip(t *testing.T) {
	b := build(samples)
	sealed := b.Seal()
	if b.Len() != len(sealed) || b.Count() != len(samples) {
		t.Errorf("a batch of %d bytes and %d records says %d and %d", len(sealed), len(samples), b.Len(), b.Count())
	}
	total := record.Overhead
	for _, r := range samples {
		total += record.Size(r.Key, r.Value, r.Headers)
	}
	if len(sealed) > total {
		t.Errorf("%d bytes, more than the %d that Size says at most", len(sealed), total)
	}
	set := record.NewSet(sealed, 0)
	got, err := readAll(set)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(samples, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if set.Offset() != int64(len(samples)) {
		t.Errorf("goes on at %d, want %d", set.Offset(), len(samples))
	}
}

func TestResetReuses(t *testing.T) {
	b := build(samples)
	b.Reset(1 << 20)
	if b.Len() != 0 || b.Count() != 0 {
		t.Errorf("after Reset: %d bytes, %d records", b.Len(), b.Count())
	}
	b.Append([]byte("again"), nil, nil, 7)
	got, err := readAll(record.NewSet(b.Seal(), 0))
	if err != nil || len(got) != 1 || string(got[0].Key) != "again" || got[0].TimeMS != 7 {
		t.Errorf("after reuse: %v %v", got, err)
	}
}

// TestOthersRead: what we build is what kafka-go's own decoder reads.
func TestOthersRead(t *testing.T) {
	sealed := build(samples).Seal()
	sized := append([]byte{byte(len(sealed) >> 24), byte(len(sealed) >> 16), byte(len(sealed) >> 8), byte(len(sealed))}, sealed...)
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(sized)); err != nil {
		t.Fatal(err)
	}
	for i, want := range samples {
		r, err := set.Records.ReadRecord()
		if err != nil {
			t.Fatal(err)
		}
		key, _ := protocol.ReadAll(r.Key)
		value, _ := protocol.ReadAll(r.Value)
		if !bytes.Equal(key, want.Key) || !bytes.Equal(value, want.Value) || r.Time.UnixMilli() != want.TimeMS || len(r.Headers) != len(want.Headers) {
			t.Errorf("record %d reads as %q %d bytes %v %v", i, key, len(value), r.Time, r.Headers)
		}
	}
	if _, err := set.Records.ReadRecord(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

// written returns records as kafka-go writes them, in one batch.
func written(t testing.TB, kind compress.Compression, count int) []byte {
	t.Helper()
	var records []protocol.Record
	for i := range count {
		records = append(records, protocol.Record{
			Time: time.UnixMilli(int64(1000 + i)), Key: protocol.NewBytes([]byte("key")), Value: protocol.NewBytes(fmt.Append(nil, i)),
			Headers: []protocol.Header{{Key: "h", Value: []byte{byte(i)}}},
		})
	}
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(kind), Records: protocol.NewRecordReader(records...)}
	var buf bytes.Buffer
	if _, err := set.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()[4:]
}

// resum makes the first batch's checksum match its bytes.
func resum(raw []byte) {
	const crcAt, coveredFrom, lengthAt, lengthFrom = 17, 21, 8, 12
	if len(raw) < 61 {
		return
	}
	end := lengthFrom + int64(int32(binary.BigEndian.Uint32(raw[lengthAt:])))
	if end < coveredFrom || end > int64(len(raw)) {
		return
	}
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[coveredFrom:end], crc32.MakeTable(crc32.Castagnoli)))
}

// TestReadsOthers: batches others wrote are read, whatever they compress with.
func TestReadsOthers(t *testing.T) {
	for _, kind := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		got, err := readAll(record.NewSet(written(t, kind, 100), 0))
		if err != nil || len(got) != 100 {
			t.Errorf("%v: %d records, %v", kind, len(got), err)
			continue
		}
		want := record.Record{Offset: 99, TimeMS: 1099, Key: []byte("key"), Value: []byte("99"), Headers: []record.Header{{Key: "h", Value: []byte{99}}}}
		if diff := cmp.Diff(want, got[99]); diff != "" {
			t.Errorf("%v (-want +got):\n%s", kind, diff)
		}
	}
}

// TestStartsInsideABatch: brokers answer with the batch that holds the offset, and cut the last one short.
func TestStartsInsideABatch(t *testing.T) {
	one := bytes.Clone(build(samples).Seal())
	for _, c := range []struct {
		name  string
		raw   []byte
		from  int64
		want  int
		after int64
	}{
		{"from the start", one, 0, 4, 4},
		{"from inside", one, 3, 1, 4},
		{"behind the batch", one, 4, 0, 4},
		{"nothing", nil, 9, 0, 9},
		{"cut in the header", one[:30], 0, 0, 0},
		{"cut in the records", one[:len(one)-1], 0, 0, 0},
		{"the second is cut", append(bytes.Clone(one), one[:80]...), 0, 4, 4},
	} {
		set := record.NewSet(c.raw, c.from)
		got, err := readAll(set)
		if err != nil || len(got) != c.want || set.Offset() != c.after {
			t.Errorf("%s: %d records, goes on at %d, %v; want %d and %d", c.name, len(got), set.Offset(), err, c.want, c.after)
		}
	}
}

func TestControlBatchesArePassedOver(t *testing.T) {
	control := written(t, compress.None, 2)
	control[22] |= 0x20
	resum(control)
	set := record.NewSet(control, 0)
	if got, err := readAll(set); err != nil || len(got) != 0 || set.Offset() != 2 {
		t.Errorf("%d records, goes on at %d, %v", len(got), set.Offset(), err)
	}
}

func TestCorruptionIsNoticed(t *testing.T) {
	sealed := build(samples).Seal()
	for position := 8; position < len(sealed); position += 1 + position/64 {
		raw := bytes.Clone(sealed)
		raw[position] ^= 0x55
		got, err := readAll(record.NewSet(raw, 0))
		if len(got) > 0 || err != nil && !errors.Is(err, record.ErrCorrupt) {
			if position < 12 || position > 16 { // a longer length is a cut, the epoch is not covered
				t.Errorf("byte %d changed: %d records, %v", position, len(got), err)
			}
		}
	}
}

func FuzzSet(f *testing.F) {
	f.Add(build(samples).Seal(), int64(0))
	f.Add(build(samples[:1]).Seal(), int64(1))
	for _, kind := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		f.Add(written(f, kind, 3), int64(0))
	}
	f.Add([]byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, raw []byte, from int64) {
		resum(raw) // else hardly any input gets past the checksum
		got, err := readAll(record.NewSet(raw, from))
		if err != nil && !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("an error of another kind: %v", err)
		}
		for _, r := range got {
			if r.Offset < from {
				t.Errorf("offset %d was read from %d on", r.Offset, from)
			}
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("of it"), int64(1_700_000_000_000), int64(-5))
	f.Add([]byte(nil), []byte(nil), "", []byte(nil), int64(0), int64(1<<40))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, at, later int64) {
		if at < 0 || at > 1<<50 || later < -at || later > 1<<50 {
			return
		}
		want := []record.Record{
			{Offset: 0, TimeMS: at, Key: key, Value: value},
			{Offset: 1, TimeMS: at + later, Key: value, Value: key, Headers: []record.Header{{Key: name, Value: header}, {Key: "kind", Value: key}}},
		}
		got, err := readAll(record.NewSet(build(want).Seal(), 0))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	var batch record.Batch
	key, value := []byte("0123456789abcdef"), make([]byte, 150)
	b.ReportAllocs()
	for b.Loop() {
		batch.Append(key, value, nil, 1_700_000_000_000)
		if batch.Len() > 1<<19 {
			batch.Seal()
			batch.Reset(1 << 20)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	var batch record.Batch
	for range 1000 {
		batch.Append([]byte("0123456789abcdef"), make([]byte, 150), []record.Header{{Key: "kind", Value: []byte("rule")}}, 1_700_000_000_000)
	}
	sealed := batch.Seal()
	var r record.Record
	var set *record.Set
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 {
			set = record.NewSet(sealed, 0)
		}
		if more, err := set.Next(&r); !more || err != nil {
			b.Fatal(more, err)
		}
	}
}
