package settings

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type grammar struct {
	Serve serve    `cmd:"" help:"Serve devices."`
	Try   try      `cmd:"" help:"Serve one device."`
	Store struct{} `cmd:"" help:"Another command."`
}

type try struct {
	serve `embed:""`
	Once  bool `help:"Only once."`
}

type serve struct {
	MQTT listener `embed:"" prefix:"mqtt-"`
	Mode string   `default:"fast" enum:"fast,safe" help:"How."`
	On   bool     `help:"Whether | or not."`
	Key  string   `required:"" help:"Signing key."`
}

type listener struct {
	Listen string        `default:":1883" help:"Where."`
	Limit  int           `default:"10" help:"How many."`
	Wait   time.Duration `default:"1s" help:"How long."`
}

func parse(args string, environ ...string) (*serve, error) {
	selected, err := Parse(Grammar{Name: "prog", Commands: &grammar{}}, strings.Fields(args), environ, &bytes.Buffer{})
	if err != nil {
		return nil, err
	}
	return selected.(*serve), nil
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := parse("serve --mqtt-limit 30", "PROG_MQTT_LIMIT=20", "PROG_MQTT_WAIT=5s", "PROG_ON=true", "PROG_KEY_FILE="+file, "OTHER_MODE=x")
	if err != nil {
		t.Fatal(err)
	}
	want := &serve{MQTT: listener{Listen: ":1883", Limit: 30, Wait: 5 * time.Second}, Mode: "fast", On: true, Key: "from a file"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefused(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, maxSecretBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, args string
		environ    []string
		says       []string
	}{
		{name: "unknown flag", args: "serve --key=k --mqtt-limits=3", says: []string{"--mqtt-limits"}},
		{name: "unknown variable", args: "serve --key=k", environ: []string{"PROG_MQTT_LIMITS=3", "PROG_A=1"}, says: []string{"PROG_A, PROG_MQTT_LIMITS"}},
		{name: "bad flag", args: "serve --key=k --mqtt-limit=x", says: []string{"--mqtt-limit", `"x"`}},
		{name: "bad variable", args: "serve --key=k", environ: []string{"PROG_MQTT_WAIT=soon"}, says: []string{"PROG_MQTT_WAIT", `"soon"`}},
		{name: "bad choice", args: "serve --key=k", environ: []string{"PROG_MODE=slow"}, says: []string{"--mode", "slow"}},
		{name: "missing", args: "serve", says: []string{"--key"}},
		{name: "variable and file", args: "serve", environ: []string{"PROG_KEY=k", "PROG_KEY_FILE=f"}, says: []string{"PROG_KEY and PROG_KEY_FILE"}},
		{name: "no such file", args: "serve", environ: []string{"PROG_KEY_FILE=/no/such/file"}, says: []string{"PROG_KEY_FILE", "/no/such/file"}},
		{name: "large file", args: "serve", environ: []string{"PROG_KEY_FILE=" + large}, says: []string{"PROG_KEY_FILE", large, "larger"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.args, c.environ...)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	_, err := Parse(Grammar{Name: "prog", Commands: &grammar{}}, []string{"serve", "--help"}, nil, &out)
	if !errors.Is(err, ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"Serve devices.", "--mqtt-listen", "($PROG_MQTT_LISTEN)", ":1883"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not say %q:\n%s", want, &out)
		}
	}
}

func TestReference(t *testing.T) {
	var page bytes.Buffer
	if err := Reference(Grammar{Name: "prog", Commands: &grammar{}}, &page); err != nil {
		t.Fatal(err)
	}
	_, commands, _ := strings.Cut(page.String(), "\n## ")
	want := `prog serve

Serve devices.

| flag | variable | default | meaning |
|---|---|---|---|
| ` + "`--mqtt-listen` | `PROG_MQTT_LISTEN` | `:1883`" + ` | Where. |
| ` + "`--mqtt-limit` | `PROG_MQTT_LIMIT` | `10`" + ` | How many. |
| ` + "`--mqtt-wait` | `PROG_MQTT_WAIT` | `1s`" + ` | How long. |
| ` + "`--mode` | `PROG_MODE` | `fast`" + ` | How. |
| ` + "`--on` | `PROG_ON` | `false`" + ` | Whether \| or not. |
| ` + "`--key` | `PROG_KEY` | (required)" + ` | Signing key. |

## prog try

Serve one device.

| flag | variable | default | meaning |
|---|---|---|---|
| ` + "`--once` | `PROG_ONCE` | `false`" + ` | Only once. |

Further settings are as of ` + "`prog serve`" + `.

## prog store

Another command.
`
	if diff := cmp.Diff(want, commands); diff != "" {
		t.Error(diff)
	}
}

func TestDefaults(t *testing.T) {
	var config struct {
		MQTT listener `embed:"" prefix:"mqtt-"`
		Data string   `default:"${home}/data"`
	}
	if err := Defaults(&config, map[string]string{"home": "/srv"}); err != nil {
		t.Fatal(err)
	}
	if config.MQTT.Limit != 10 || config.Data != "/srv/data" {
		t.Errorf("got %+v", config)
	}
	if err := Defaults(&config, nil); err == nil {
		t.Error("a default that cannot be filled in was taken")
	}
}
