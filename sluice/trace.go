package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/internal/operator"
)

// traceCommand is `sluice trace`.
type traceCommand struct {
	operator.Node
	Device string `name:"device" required:"" help:"Name or id of the device."`
	Limit  int    `name:"limit" default:"20" help:"Most messages shown, at most 100."`
	JSON   bool   `name:"json" help:"Print the node's answer as it is."`
}

// traced is what GET /trace tells of one message.
type traced struct {
	ID       string  `json:"id"`
	Type     string  `json:"type"`
	At       int64   `json:"ts"`
	Took     float64 `json:"tookMs"`
	Attempts int     `json:"attempts"`
	Fate     string  `json:"fate"`
	Error    string  `json:"error"`
	Where    string  `json:"where"`
	Path     []struct {
		Chain    string  `json:"ruleChain"`
		Node     string  `json:"ruleNode"`
		Relation string  `json:"relation"`
		After    float64 `json:"afterMs"`
		Stored   int     `json:"stored"`
		Error    string  `json:"error"`
	} `json:"path"`
}

// Run prints what became of the device's latest messages, the newest first.
func (t *traceCommand) Run(ctx context.Context, inv process.Invocation) error {
	query := url.Values{"device": {t.Device}, "limit": {strconv.Itoa(t.Limit)}}
	body, err := t.Ask(ctx, http.MethodGet, "/trace?"+query.Encode())
	if err != nil {
		return fmt.Errorf("ask what became of the messages of %s: %w", t.Device, err)
	}
	if t.JSON {
		return printJSON(inv.Stdout, body)
	}
	var messages []traced
	if err := json.Unmarshal(body, &messages); err != nil {
		return fmt.Errorf("read traces: %w", err)
	}
	if len(messages) == 0 {
		_, err := fmt.Fprintln(inv.Stdout, "No message of the device is among the latest of its partition.")
		return err
	}
	for _, m := range messages {
		if err := m.print(inv.Stdout); err != nil {
			return err
		}
	}
	return nil
}

func (m *traced) print(out io.Writer) error {
	at := time.UnixMilli(m.At).Format("2006-01-02 15:04:05.000")
	fmt.Fprintf(out, "%s  %s  %s  %.1f ms  attempt %d  %s\n", at, m.Type, m.Fate, m.Took, m.Attempts, m.ID)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range m.Path {
		relation := s.Relation
		if relation == "" {
			relation = "-"
		}
		fmt.Fprintf(table, "  %+.1f ms\t%s\t%s\t→ %s\tstored %d\t%s\n", s.After, s.Chain, s.Node, relation, s.Stored, s.Error)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if m.Error != "" {
		fmt.Fprintf(out, "  at %s: %s\n", m.Where, m.Error)
	}
	_, err := fmt.Fprintln(out)
	return err
}
