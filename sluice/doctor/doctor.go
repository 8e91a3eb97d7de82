// Package doctor looks at everything a fleet rests upon, from where it runs and with the settings the members have, and
// names what is broken.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/process"
	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// Doctor is `sluice doctor`.
type Doctor struct {
	Patience time.Duration `name:"patience" default:"10s" help:"How long one thing may take to answer."`
	Bus      bus.Config    `embed:""`
	Core     coreConfig    `embed:""`
}

// coreConfig leaves out what the doctor has no use for.
type coreConfig struct {
	HTTPListen      struct{} `settings:"-"`
	corenode.Config `embed:""`
}

// errIll is returned when something is broken; what was printed says what.
var errIll = errors.New("something is broken")

// finding is what a look at one thing found.
type finding struct {
	about, told string
	// err is what is wrong; warning means that all works in spite of it.
	err     error
	warning bool
}

// look finds out about one thing before ctx ends.
type look func(ctx context.Context) []finding

// Run looks at everything side by side and prints a line for each thing, the broken ones with the reason.
func (d *Doctor) Run(ctx context.Context, inv process.Invocation) error {
	looks := []look{d.names, d.brokers, d.topics, d.ring, d.store, d.host}
	found := make([][]finding, len(looks))
	var looking sync.WaitGroup
	for i, look := range looks {
		looking.Go(func() {
			limited, cancel := context.WithTimeout(ctx, d.Patience)
			defer cancel()
			found[i] = look(limited)
		})
	}
	looking.Wait()
	return report(inv.Stdout, found)
}

func report(out io.Writer, found [][]finding) error {
	ill := 0
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, some := range found {
		for _, f := range some {
			switch {
			case f.err == nil:
				fmt.Fprintf(table, "ok\t%s\t%s\n", f.about, f.told)
			case f.warning:
				fmt.Fprintf(table, "WARNING\t%s\t%v\n", f.about, f.err)
			default:
				ill++
				fmt.Fprintf(table, "BROKEN\t%s\t%v\n", f.about, f.err)
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if ill > 0 {
		return fmt.Errorf("%d of the things above: %w", ill, errIll)
	}
	return nil
}
