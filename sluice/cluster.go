package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/internal/operator"
)

// cluster is `sluice cluster`.
type cluster struct {
	Status clusterStatus `cmd:"" help:"Show the core nodes, who owns which partition, and what waits."`
}

type clusterStatus struct {
	operator.Node
	JSON bool `name:"json" help:"Print the node's answer as it is."`
}

// clusterAnswer is GET /cluster.
type clusterAnswer struct {
	Nodes []struct {
		ID        string            `json:"id"`
		Addresses map[string]string `json:"addresses"`
		Since     time.Time         `json:"since"`
	} `json:"nodes"`
	Partitions []struct {
		Partition     int              `json:"partition"`
		Owner         string           `json:"owner"`
		Wanted        string           `json:"wanted"`
		Epoch         int64            `json:"epoch"`
		Waiting       map[string]int64 `json:"waiting"`
		OldestMs      int64            `json:"oldestMs"`
		RetentionUsed float64          `json:"retentionUsed"`
	} `json:"partitions"`
	Trouble map[string]string `json:"trouble"`
}

// Run prints the nodes, then the partitions. What could not be found out is an error, after what could.
func (c *clusterStatus) Run(ctx context.Context, inv process.Invocation) error {
	body, err := c.Ask(ctx, http.MethodGet, "/cluster")
	if err != nil {
		return fmt.Errorf("ask for the cluster's status: %w", err)
	}
	if c.JSON {
		return printJSON(inv.Stdout, body)
	}
	var answer clusterAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read the cluster's status: %w", err)
	}
	if err := answer.print(inv.Stdout, time.Now()); err != nil {
		return err
	}
	for part, trouble := range answer.Trouble {
		return fmt.Errorf("the node could not ask the %s: %s", part, trouble)
	}
	return nil
}

func (a *clusterAnswer) print(out io.Writer, now time.Time) error {
	owns := map[string]int{}
	for _, p := range a.Partitions {
		owns[p.Owner]++
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tPARTITIONS\tUP\tADDRESSES")
	for _, n := range a.Nodes {
		up := "-"
		if !n.Since.IsZero() {
			up = now.Sub(n.Since).Round(time.Second).String()
		}
		var addresses []string
		for _, name := range slices.Sorted(maps.Keys(n.Addresses)) {
			addresses = append(addresses, name+"="+n.Addresses[name])
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", n.ID, owns[n.ID], up, strings.Join(addresses, " "))
	}
	fmt.Fprintln(table, "\nPARTITION\tOWNER\tEPOCH\tWAITING\tOLDEST\tRETENTION USED")
	for _, p := range a.Partitions {
		owner := p.Owner
		switch {
		case owner == "":
			owner = "(none)"
			fallthrough
		case p.Wanted != p.Owner:
			owner += " → " + p.Wanted
		}
		waiting, oldest := int64(0), "-"
		for _, n := range p.Waiting {
			waiting += n
		}
		if p.OldestMs > 0 {
			oldest = now.Sub(time.UnixMilli(p.OldestMs)).Round(time.Millisecond).String()
		}
		fmt.Fprintf(table, "%d\t%s\t%d\t%d\t%s\t%.0f %%\n", p.Partition, owner, p.Epoch, waiting, oldest, 100*p.RetentionUsed)
	}
	return table.Flush()
}
