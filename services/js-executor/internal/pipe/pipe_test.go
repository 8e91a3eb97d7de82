package pipe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestTextsComeAsTheyWereWritten(t *testing.T) {
	var b bytes.Buffer
	for _, text := range []string{"one", "", "three"} {
		if err := Write(&b, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	b.Write(End(append(Begin(nil), "four"...)))
	r := bufio.NewReader(&b)
	for _, want := range []string{"one", "", "three", "four"} {
		if got, err := Read(r); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := Read(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestALengthThatCannotBe(t *testing.T) {
	if _, err := Read(bufio.NewReader(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}))); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'})
	f.Add([]byte{0, 0, 1, 0, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, read := bufio.NewReader(bytes.NewReader(b)), 0
		for {
			text, err := Read(r)
			if err != nil {
				break
			}
			read += head + len(text)
		}
		if read > len(b) {
			t.Errorf("%d bytes out of %d", read, len(b))
		}
	})
}
