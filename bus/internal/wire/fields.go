package wire

import "encoding/binary"

// frame is a request being written: the protocol's primitive types, big-endian.
type frame []byte

func (f *frame) int8(v int)    { *f = append(*f, byte(v)) }
func (f *frame) int16(v int)   { *f = binary.BigEndian.AppendUint16(*f, uint16(v)) }
func (f *frame) int32(v int)   { *f = binary.BigEndian.AppendUint32(*f, uint32(v)) }
func (f *frame) int64(v int64) { *f = binary.BigEndian.AppendUint64(*f, uint64(v)) }

func (f *frame) text(v string) {
	f.int16(len(v))
	*f = append(*f, v...)
}

// partition writes the topics and partitions of a request that names one.
func (f *frame) partition(prefix, topic string, partition int) {
	f.int32(1)
	f.int16(len(prefix) + len(topic))
	*f = append(*f, prefix...)
	*f = append(*f, topic...)
	f.int32(1)
	f.int32(partition)
}

// setSize fills in how long the request is, with tail bytes to follow.
func (f frame) setSize(tail int) { binary.BigEndian.PutUint32(f, uint32(len(f)-4+tail)) }

// fields is an answer being read. After the first field that does not fit, bad is set and
// every further one is zero.
type fields struct {
	bytes []byte
	bad   bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.bytes) {
		f.bad, f.bytes = true, nil
		return nil
	}
	taken := f.bytes[:n:n]
	f.bytes = f.bytes[n:]
	return taken
}

func (f *fields) skip(n int) { f.take(n) }

func (f *fields) int16() int {
	if b := f.take(2); b != nil {
		return int(int16(binary.BigEndian.Uint16(b)))
	}
	return 0
}

func (f *fields) int32() int {
	if b := f.take(4); b != nil {
		return int(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

func (f *fields) int64() int64 {
	if b := f.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// count reads the length of an array whose elements take at least each bytes; null counts as empty.
func (f *fields) count(each int) int {
	n := f.int32()
	if n <= 0 {
		return 0
	}
	if n > len(f.bytes)/each {
		f.bad = true
		return 0
	}
	return n
}

// sized reads bytes that state their length; null is nil.
func (f *fields) sized() []byte {
	n := f.int32()
	if n < 0 {
		return nil
	}
	return f.take(n)
}

// partition reads the topics and partitions of an answer that must be about exactly this one.
func (f *fields) partition(prefix, topic string, partition int) {
	topics := f.int32()
	name := f.take(f.int16())
	named := len(name) == len(prefix)+len(topic) && string(name[:len(prefix)]) == prefix && string(name[len(prefix):]) == topic
	partitions := f.int32()
	index := f.int32()
	if topics != 1 || partitions != 1 || index != partition || !named {
		f.bad, f.bytes = true, nil
	}
}
