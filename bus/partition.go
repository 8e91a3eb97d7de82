package bus

import "encoding/binary"

// partitionOf returns the partition Kafka's own clients would choose: the positive part of
// murmur2 of the key, modulo the count. Whatever else publishes to our topics must agree.
func partitionOf(key []byte, partitions int) int {
	if partitions <= 1 {
		return 0
	}
	return int(murmur2(key)&0x7fffffff) % partitions
}

// Partition returns the partition, of partitions, that a message with key goes to. Whoever owns a
// partition number by it owns every entity whose id falls there.
func Partition(key []byte, partitions int) int { return partitionOf(key, partitions) }

// murmur2 is Austin Appleby's hash (2008) with Kafka's seed.
func murmur2(data []byte) uint32 {
	const (
		seed  = 0x9747b28c
		mix   = 0x5bd1e995
		shift = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * mix
		h = h*mix ^ (k^k>>shift)*mix
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * mix
	}
	h = (h ^ h>>13) * mix
	return h ^ h>>15
}
