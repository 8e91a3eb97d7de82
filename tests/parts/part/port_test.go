package part

import (
	"net"
	"testing"
)

// A fleet asks for some thirty addresses before any of its processes listens.
func TestNoAddressIsGivenTwice(t *testing.T) {
	given := map[string]bool{}
	for range blockPorts / 2 { // the rest, if others listen there
		address, err := FreeAddress("tcp")
		if err != nil {
			t.Fatal(err)
		}
		if given[address] {
			t.Fatalf("%s was given twice", address)
		}
		given[address] = true
	}
}

// Programs of two tests run side by side, and one that is killed leaves its ports for a while.
func TestNoTwoProcessesShareABlockOfPorts(t *testing.T) {
	var one, other block
	for _, b := range []*block{&one, &other} {
		if err := b.take(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.claim.Close() })
	}
	if one.first == other.first {
		t.Fatalf("both have the block from %d on", one.first)
	}
	if port := one.claim.Addr().(*net.TCPAddr).Port; port != one.first {
		t.Errorf("a block from %d on is claimed by listening on %d", one.first, port)
	}
}
