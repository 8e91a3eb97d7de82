package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sluice-iot/sluice/process"
	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// Lint is `sluice chain lint`.
type Lint struct {
	Files []string `arg:"" name:"file" help:"Exported rule chains, or bundles of them."`
	JSON  bool     `name:"json" help:"Print JSON."`
}

// problem is one of a file.
type problem struct {
	File string `json:"file"`
	corenode.ChainProblem
}

// Run prints what is wrong with each file; an error says that something is that is no mere warning.
func (l *Lint) Run(ctx context.Context, inv process.Invocation) error {
	problems := []problem{}
	err := offline(ctx, func(ctx context.Context, t *corenode.Tryout) error {
		for _, name := range l.Files {
			file, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			found, err := t.Lint(ctx, file)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, p := range found {
				problems = append(problems, problem{name, p})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.print(inv.Stdout, problems); err != nil {
		return err
	}
	wrong := 0
	for _, p := range problems {
		if !p.Warning {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s in %s", counted(wrong, "error"), counted(len(l.Files), "file"))
	}
	return nil
}

func (l *Lint) print(out io.Writer, problems []problem) error {
	if l.JSON {
		return printJSON(out, problems)
	}
	for _, p := range problems {
		if _, err := fmt.Fprintln(out, p); err != nil {
			return err
		}
	}
	return nil
}

// String is one line, the place first.
func (p problem) String() string {
	at := []string{p.File}
	if p.Chain != "" {
		at = append(at, fmt.Sprintf("rule chain %q", p.Chain))
	}
	if p.Node != nil {
		at = append(at, fmt.Sprintf("node %d %q", *p.Node, p.Name))
	}
	if p.Field != "" {
		at = append(at, p.Field)
	}
	level := "error"
	if p.Warning {
		level = "warning"
	}
	return strings.Join(at, ": ") + ": " + level + ": " + p.Text
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printJSON prints v indented, with its texts as they are.
func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// readObject reads a flag that is a JSON object of texts; "" is none.
func readObject(flag, text string) (object map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	if json.Unmarshal([]byte(text), &object) != nil {
		return nil, errors.New("--" + flag + `: a JSON object of texts is needed, such as '{"ss_limit":"20"}'`)
	}
	return object, nil
}
