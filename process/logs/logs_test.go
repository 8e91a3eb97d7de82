package logs

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"text", "msg=started topic=a"},
		{"json", `"msg":"started","topic":"a"`},
		{"auto", `"msg":"started","topic":"a"`}, // a buffer is no terminal
	} {
		var out bytes.Buffer
		log, err := New(Config{Level: "info", Format: c.format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("too little to log")
		log.Info("started", "topic", "a")
		if !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "too little") {
			t.Errorf("%s: %s", c.format, &out)
		}
	}
}

func TestUnknownLevel(t *testing.T) {
	if _, err := New(Config{Level: "loud"}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "log-level") {
		t.Errorf("got %v", err)
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if IsTerminal(file) {
		t.Error("a file passes for a terminal")
	}
}
