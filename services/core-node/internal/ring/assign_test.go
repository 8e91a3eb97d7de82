package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// What Assign promises beyond 1/n: on average over sets of nodes, and at worst.
const (
	movedMean  = 0.12
	movedWorst = 0.25
)

func TestNodesComeAndGoAndLittleMoves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const rounds = 100
	for _, partitions := range []int{24, 48, 60} {
		for n := 2; n <= 8; n++ {
			var sum, worst float64
			for range rounds {
				nodes := make([]string, n)
				for i := range nodes {
					nodes[i] = fmt.Sprintf("core-%d-%x", i, r.Uint32())
				}
				all, less := Assign(partitions, nodes), Assign(partitions, nodes[1:])
				checkSpread(t, all, nodes)
				checkSpread(t, less, nodes[1:])
				moved := 0
				for p := range all {
					if all[p] != less[p] {
						moved++
					}
				}
				beyond := float64(moved)/float64(partitions) - 1/float64(n)
				sum, worst = sum+beyond, max(worst, beyond)
			}
			t.Logf("%d partitions, %d nodes: moved beyond 1/n on average %.3f, at most %.3f", partitions, n, sum/rounds, worst)
			if sum/rounds > movedMean || worst > movedWorst {
				t.Errorf("%d partitions, %d nodes: moved beyond 1/n on average %.3f, at most %.3f", partitions, n, sum/rounds, worst)
			}
		}
	}
}

func checkSpread(t *testing.T, owners, nodes []string) {
	t.Helper()
	load := map[string]int{}
	for _, owner := range owners {
		load[owner]++
	}
	for _, node := range nodes {
		if least := len(owners) / len(nodes); load[node] < least || load[node] > least+1 {
			t.Fatalf("%s has %d of %d partitions of %d nodes", node, load[node], len(owners), len(nodes))
		}
		delete(load, node)
	}
	if len(load) > 0 {
		t.Fatalf("partitions of nobody: %v", load)
	}
}

func TestAssignmentDependsOnTheSetOnly(t *testing.T) {
	nodes := []string{"core-1", "core-2", "core-3", "core-4"}
	want := Assign(24, nodes)
	slices.Reverse(nodes)
	if got := Assign(24, append(nodes, "core-2")); !slices.Equal(got, want) {
		t.Errorf("%v, in another order %v", want, got)
	}
	if got := Assign(24, nil); len(got) != 0 {
		t.Errorf("no nodes: %v", got)
	}
	// Nodes of two versions must agree: this is the rule as it was first published.
	if got := fmt.Sprint(Assign(8, []string{"core-1", "core-2", "core-3"})); got != published {
		t.Errorf("%s, published %s", got, published)
	}
}

const published = "[core-3 core-2 core-3 core-1 core-1 core-3 core-2 core-1]"
