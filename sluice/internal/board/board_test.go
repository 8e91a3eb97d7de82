package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		board := &Board{}
		var totals atomic.Pointer[Totals]
		totals.Store(&Totals{})
		screen := &Screen{Board: board, Totals: func() (Totals, error) { return *totals.Load(), nil }, Out: &out}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- screen.Run(ctx) }()
		time.Sleep(500 * time.Millisecond)
		board.Show("T1", "temperature", "21.5", time.Now())
		board.Show("T1", "humidity", "60", time.Now())
		board.Show("T1", "humidity", "59", time.Now().Add(-time.Minute)) // late: not the latest value
		board.Show("A\x1b[2J", "x", "y", time.Now().Add(time.Minute))
		totals.Store(&Totals{Acknowledged: 10, Stored: 9, DeadLettered: 1})
		time.Sleep(time.Second)
		totals.Store(&Totals{Acknowledged: 30, Stored: 29, DeadLettered: 1})
		time.Sleep(time.Second)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		lines := strings.Split(out.String(), "\n")
		for i, want := range []string{
			"acknowledged 10 (10/s)   stored 9 (9/s)   dead-lettered 1 (1/s)",
			"  A?[2J                      x=y (0.0s ago)",
			"  T1                         humidity=60 (0.5s ago) temperature=21.5 (0.5s ago)",
			"acknowledged 30 (20/s)   stored 29 (20/s)   dead-lettered 1 (0/s)",
		} {
			if !strings.HasSuffix(lines[i], want) {
				t.Errorf("line %d is %q, want %q", i+1, lines[i], want)
			}
		}
	})
}

func TestRedraw(t *testing.T) {
	var out bytes.Buffer
	board := &Board{}
	screen := &Screen{Board: board, Totals: func() (Totals, error) { return Totals{Stored: 7}, nil }, Out: &out, since: time.Now()}
	now := time.Now()
	for i := range maxRows + 2 {
		board.Show("Device", fmt.Sprintf("key-%02d", i), strings.Repeat("9", 30), now.Add(-90*time.Second))
	}
	for range 2 {
		if err := screen.redraw(now); err != nil {
			t.Fatal(err)
		}
	}
	text := out.String()
	for _, want := range []string{"key-15", "99999999999999999…", "1m30s", "and 2 more", "stored 7", fmt.Sprintf("\x1b[%dA", maxRows+4)} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not drawn:\n%s", want, text)
		}
	}
	if strings.Contains(text, "key-16") {
		t.Error("more rows are drawn than fit")
	}
}

func TestScreenTellsWhatItCannotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errLost := errors.New("lost")
		screen := &Screen{Board: &Board{}, Totals: func() (Totals, error) { return Totals{}, errLost }, Out: &bytes.Buffer{}}
		if err := screen.Run(t.Context()); !errors.Is(err, errLost) {
			t.Errorf("got %v", err)
		}
	})
}

func TestBoardIsBounded(t *testing.T) {
	board := &Board{}
	for i := range maxSeries + 10 {
		board.Show("Device", fmt.Sprint(i), "1", time.Now())
	}
	if n := len(board.rows()); n != maxSeries {
		t.Errorf("%d series", n)
	}
}

func TestAge(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0.0s", 340 * time.Millisecond: "0.3s", 12345 * time.Millisecond: "12s", 26*time.Hour + 29*time.Second: "26h0m0s",
	} {
		if got := age(now, now.Add(-d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
