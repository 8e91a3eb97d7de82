package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/internal/operator"
)

// deadLetters is `sluice dead-letters`.
type deadLetters struct {
	List    listLetters   `cmd:"" help:"List those that wait, the newest first."`
	Show    showLetter    `cmd:"" help:"Show one with all that is known of it, as JSON."`
	Replay  replayLetter  `cmd:"" help:"Have one handled again, with its message id and time."`
	Discard discardLetter `cmd:"" help:"Have one no longer listed."`
}

// letter is what a list tells of each; the fields are those of GET /dead-letters.
type letter struct {
	ID             string `json:"id"`
	OriginatorName string `json:"originatorName"`
	Where          string `json:"where"`
	Error          string `json:"error"`
	Attempts       int    `json:"attempts"`
	FailedAt       int64  `json:"failedAt"` // ms since the epoch
}

type listLetters struct {
	operator.Node
	JSON bool `name:"json" help:"Print the node's answer as it is."`
}

// Run prints one line per letter.
func (c *listLetters) Run(ctx context.Context, inv process.Invocation) error {
	body, err := c.Node.Ask(ctx, http.MethodGet, "/dead-letters")
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	if c.JSON {
		return printJSON(inv.Stdout, body)
	}
	var letters []letter
	if err := json.Unmarshal(body, &letters); err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	table := tabwriter.NewWriter(inv.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tFAILED AT\tORIGINATOR\tATTEMPTS\tWHERE\tERROR")
	for _, l := range letters {
		fmt.Fprintf(table, "%s\t%s\t%q\t%d\t%q\t%q\n", l.ID, time.UnixMilli(l.FailedAt).UTC().Format(time.RFC3339), l.OriginatorName, l.Attempts, l.Where, l.Error)
	}
	return table.Flush()
}

// oneLetter names the letter a command is about.
type oneLetter struct {
	operator.Node
	ID string `arg:"" help:"The dead letter's id, as listed."`
}

func (o oneLetter) path(act string) string { return "/dead-letters/" + url.PathEscape(o.ID) + act }

type showLetter struct {
	oneLetter
}

// Run prints the letter.
func (c *showLetter) Run(ctx context.Context, inv process.Invocation) error {
	body, err := c.Node.Ask(ctx, http.MethodGet, c.path(""))
	if err != nil {
		return fmt.Errorf("show dead letter %s: %w", c.ID, err)
	}
	return printJSON(inv.Stdout, body)
}

type replayLetter struct {
	oneLetter
}

// Run has the letter's message handled again.
func (c *replayLetter) Run(ctx context.Context, inv process.Invocation) error {
	if _, err := c.Node.Ask(ctx, http.MethodPost, c.path("/replay")); err != nil {
		return fmt.Errorf("replay dead letter %s: %w", c.ID, err)
	}
	_, err := fmt.Fprintf(inv.Stdout, "%s is handled again\n", c.ID)
	return err
}

type discardLetter struct {
	oneLetter
}

// Run has the letter no longer listed.
func (c *discardLetter) Run(ctx context.Context, inv process.Invocation) error {
	if _, err := c.Node.Ask(ctx, http.MethodPost, c.path("/discard")); err != nil {
		return fmt.Errorf("discard dead letter %s: %w", c.ID, err)
	}
	_, err := fmt.Fprintf(inv.Stdout, "%s is discarded\n", c.ID)
	return err
}

// printJSON prints text indented.
func printJSON(out io.Writer, text []byte) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(text), "", "  "); err != nil {
		return fmt.Errorf("the node's answer is no JSON: %w", err)
	}
	indented.WriteByte('\n')
	_, err := indented.WriteTo(out)
	return err
}
