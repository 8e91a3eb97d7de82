package part

import "testing"

// A fleet asks for some thirty addresses before any of its processes listens.
func TestNoAddressIsGivenTwice(t *testing.T) {
	given := map[string]bool{}
	for range 2000 {
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
