package ring

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// Assign says which of nodes each partition number belongs to, by the same rule on every node: it depends on the set
// of nodes only, not on its order or on what was before. Each node gets ⌊partitions/n⌋ or ⌈partitions/n⌉ of them.
// The result is empty when nodes is.
//
// It is rendezvous hashing with bounded loads: the pairs of node and partition are gone through from the highest score
// to the lowest, and a pair holds if the partition is free and the node has room. A node that comes or goes
// moves 1/n of the partitions, and those that the bounds push on: DESIGN.md says how many.
func Assign(partitions int, nodes []string) []string {
	nodes = slices.Compact(slices.Sorted(slices.Values(nodes)))
	if len(nodes) == 0 || partitions <= 0 {
		return nil
	}
	type pair struct {
		score           uint64
		partition, node int
	}
	pairs := make([]pair, 0, partitions*len(nodes))
	for n, name := range nodes {
		seed := fnv.New64a()
		seed.Write([]byte(name))
		for p := range partitions {
			pairs = append(pairs, pair{mix(seed.Sum64() ^ mix(uint64(p)+1)), p, n})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.partition, b.partition), cmp.Compare(a.node, b.node))
	})
	share, larger := partitions/len(nodes), partitions%len(nodes) // so many nodes get one more
	load := make([]int, len(nodes))
	owners := make([]string, partitions)
	for _, candidate := range pairs {
		n := candidate.node
		if owners[candidate.partition] != "" || load[n] > share || load[n] == share && larger == 0 {
			continue
		}
		if load[n] == share {
			larger--
		}
		load[n]++
		owners[candidate.partition] = nodes[n]
	}
	return owners
}

// mix spreads x over all bits (the finalizer of SplitMix64): scores of neighbours must not be alike.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
