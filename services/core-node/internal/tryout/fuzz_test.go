package tryout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

// FuzzLint looks at files that nobody exported: whatever is in them, it is told of and nothing panics, and a chain in which nothing
// is wrong compiles.
func FuzzLint(f *testing.F) {
	files, err := filepath.Glob("../../../../tests/system/chains/*.chain.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d chains, %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(chainOf(`{"type":"a","name":"A"},{}`, `{"fromIndex":0,"toIndex":9,"type":""},{"fromIndex":-1}`))
	p := platform()
	w, err := p.newWorld(f.Context(), time.Now(), p.Kinds)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, file []byte) {
		chains, err := read(file)
		if err != nil {
			return
		}
		l := &linter{scripts: &recorder{Scripts: p.Scripts}, compiler: w.compiler, known: map[ident.ID]bool{}}
		for i := range chains {
			l.problems = nil
			if err := l.chain(t.Context(), w.tenant, &chains[i]); err != nil {
				t.Fatal(err)
			}
			for _, problem := range l.problems {
				if !problem.Warning {
					return
				}
			}
			if err := w.compiles(&chains[i]); err != nil {
				t.Errorf("nothing was said to be wrong, and %v", err)
			}
		}
	})
}

// compiles compiles a chain as import does.
func (w *world) compiles(c *exported) error {
	text, err := json.Marshal(c.Document)
	if err != nil {
		return err
	}
	_, err = w.compiler.Compile(w.tenant, c.ID, text)
	return err
}
