package chain

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// ways are how steps without a relation are told.
var ways = map[string]string{"into": "(into another chain)", "back": "(back to the chain it came from)", "raised": "(a message of its own)", "ended": "(ends here)"}

// printReport prints each message's way, then what would be sent and what is stored. timed: with how long nodes took.
func printReport(to io.Writer, report corenode.TryReport, timed bool) error {
	out := bufio.NewWriter(to)
	for _, f := range report.Flights {
		fmt.Fprintf(out, "%s of %s, %s, in %q\n", f.Type, f.Originator, f.From, report.Chain)
		for _, s := range f.Steps {
			fmt.Fprintf(out, "  %s", s.Node)
			if s.Chain != report.Chain {
				fmt.Fprintf(out, " [%s]", s.Chain)
			}
			fmt.Fprintf(out, " → %s", cmp.Or(s.Relation, ways[s.Went]))
			if timed {
				fmt.Fprintf(out, "  %.1f ms", s.Took)
			}
			if s.Stored > 0 {
				fmt.Fprintf(out, "  stored %d", s.Stored)
			}
			fmt.Fprintf(out, "\n      %s %s %s\n", s.Type, s.Body, encoded(s.Metadata))
			if s.Error != "" {
				fmt.Fprintf(out, "      error: %s\n", s.Error)
			}
		}
		if f.Error != "" {
			fmt.Fprintf(out, "  FAILED at %s: %s\n", f.Where, f.Error)
		}
	}
	for _, s := range report.Sent {
		fmt.Fprintf(out, "would send by %q: %s %s\n", s.Node, s.To, s.Body)
	}
	for _, name := range slices.Sorted(maps.Keys(report.Stored)) {
		fmt.Fprintf(out, "stored of %s: %s\n", name, encoded(report.Stored[name]))
	}
	return out.Flush()
}

// printResult prints whether a case passed, and if not, how it differs.
func printResult(out io.Writer, r result) error {
	if len(r.Failures) == 0 {
		_, err := fmt.Fprintf(out, "ok    %s\n", r.Case)
		return err
	}
	if _, err := fmt.Fprintf(out, "FAIL  %s\n", r.Case); err != nil {
		return err
	}
	for _, f := range r.Failures {
		if _, err := fmt.Fprintf(out, "  %s\n", strings.ReplaceAll(f, "\n", "\n  ")); err != nil {
			return err
		}
	}
	return nil
}
