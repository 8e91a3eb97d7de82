package board

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// maxRows bounds the table on a terminal: redrawing moves the cursor up, which works only as
// long as the table's first line is on the screen.
const maxRows = 16

// How often the board is drawn.
const (
	redrawEvery = 250 * time.Millisecond
	printEvery  = time.Second
)

// Totals are counts since the start.
type Totals struct{ Acknowledged, Stored, DeadLettered int64 }

func (t Totals) minus(u Totals) Totals {
	return Totals{t.Acknowledged - u.Acknowledged, t.Stored - u.Stored, t.DeadLettered - u.DeadLettered}
}

// Screen draws a Board.
type Screen struct {
	Board *Board
	// Totals reads the counts.
	Totals func() (Totals, error)
	Out    io.Writer
	// Redraw draws the table in its place, for terminals; else each second is told in plain lines.
	Redraw bool

	last  Totals
	since time.Time
	rate  Totals // per second, over the last second
	lines int    // drawn last time
}

// Run draws until ctx ends.
func (s *Screen) Run(ctx context.Context) error {
	every, draw := printEvery, s.print
	if s.Redraw {
		every, draw = redrawEvery, s.redraw
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	s.since = time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticks.C:
			if err := draw(now); err != nil {
				return fmt.Errorf("draw the board: %w", err)
			}
		}
	}
}

// summary counts, and takes the rates anew once a second.
func (s *Screen) summary(now time.Time) (string, error) {
	totals, err := s.Totals()
	if err != nil {
		return "", fmt.Errorf("read the totals: %w", err)
	}
	if passed := now.Sub(s.since); passed >= printEvery-redrawEvery/2 {
		d, seconds := totals.minus(s.last), passed.Seconds()
		s.rate = Totals{perSecond(d.Acknowledged, seconds), perSecond(d.Stored, seconds), perSecond(d.DeadLettered, seconds)}
		s.last, s.since = totals, now
	}
	return fmt.Sprintf("acknowledged %d (%d/s)   stored %d (%d/s)   dead-lettered %d (%d/s)",
		totals.Acknowledged, s.rate.Acknowledged, totals.Stored, s.rate.Stored, totals.DeadLettered, s.rate.DeadLettered), nil
}

func perSecond(n int64, seconds float64) int64 { return int64(float64(n)/seconds + 0.5) }

// print writes the totals and a line for every device that sent something since the last time.
func (s *Screen) print(now time.Time) error {
	summary, err := s.summary(now)
	if err != nil {
		return err
	}
	text := &strings.Builder{}
	fmt.Fprintf(text, "%s %s\n", now.Format(time.TimeOnly), summary)
	device := ""
	for i, r := range s.Board.changed() {
		if r.device != device {
			if i > 0 {
				text.WriteByte('\n')
			}
			device = r.device
			fmt.Fprintf(text, "  %-26s", printable(r.device))
		}
		fmt.Fprintf(text, " %s=%s (%s ago)", printable(r.key), printable(r.value), age(now, r.time))
	}
	if device != "" {
		text.WriteByte('\n')
	}
	_, err = io.WriteString(s.Out, text.String())
	return err
}

// redraw draws the whole table over the one drawn last.
func (s *Screen) redraw(now time.Time) error {
	summary, err := s.summary(now)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("%-26s %-20s %-18s %s", "DEVICE", "KEY", "VALUE", "AGE")}
	rows := s.Board.rows()
	for _, r := range rows[:min(len(rows), maxRows)] {
		lines = append(lines, fmt.Sprintf("%-26s %-20s %-18s %s",
			fit(r.device, 26), fit(r.key, 20), fit(r.value, 18), age(now, r.time)))
	}
	if hidden := len(rows) - maxRows; hidden > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", hidden))
	}
	lines = append(lines, "", summary)
	const clearLine = "\x1b[K\n"
	text := &strings.Builder{}
	if s.lines > 0 {
		fmt.Fprintf(text, "\x1b[%dA", s.lines)
	}
	for _, line := range lines {
		text.WriteString(line + clearLine)
	}
	s.lines = len(lines)
	_, err = io.WriteString(s.Out, text.String())
	return err
}

func age(now, then time.Time) string {
	switch d := max(0, now.Sub(then)); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Minute).String()
	}
}

// fit makes text a cell of at most width characters.
func fit(text string, width int) string {
	runes := []rune(printable(text))
	if len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}

// printable replaces what a device could use to write elsewhere on the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
