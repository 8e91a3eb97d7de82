package tryout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Problem is one thing wrong with an exported chain.
type Problem struct {
	Chain string `json:"chain,omitempty"`
	// Node is the index of the node; nil when it is not about one.
	Node  *int   `json:"node,omitempty"`
	Name  string `json:"name,omitempty"` // of the node
	Field string `json:"field,omitempty"`
	// Warning: the chain runs, but perhaps not as meant. Otherwise it is refused on import, or messages fail.
	Warning bool   `json:"warning"`
	Text    string `json:"text"`
}

// linter looks at one file.
type linter struct {
	scripts  *recorder
	compiler *rule.Compiler
	known    map[ident.ID]bool // chains of the file
	problems []Problem
}

// recorder remembers what nodes prepare.
type recorder struct {
	rule.Scripts
	prepared []rule.Script
}

// Prepare implements rule.Scripts.
func (r *recorder) Prepare(tenant ident.TenantID, parameters []string, body string) (rule.Script, error) {
	s, err := r.Scripts.Prepare(tenant, parameters, body)
	if err == nil {
		r.prepared = append(r.prepared, s)
	}
	return s, err
}

// Lint says what is wrong with a file, in order of its chains and nodes. The error is not the file's: ctx has ended, or nobody compiles scripts.
func (p *Platform) Lint(ctx context.Context, file []byte) (problems []Problem, err error) {
	chains, err := read(file)
	if err != nil {
		field, text := place(err)
		return []Problem{{Field: field, Text: text}}, nil
	}
	scripts := &recorder{Scripts: p.Scripts}
	with := *p
	with.Scripts = scripts
	w, err := with.newWorld(ctx, time.Now(), p.Kinds)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.services.Outside.Close(), w.store.Close()) }()
	l := &linter{scripts: scripts, compiler: w.compiler, known: map[ident.ID]bool{}}
	for i := range chains {
		l.known[chains[i].ID] = true
	}
	for i := range chains {
		if err := l.chain(ctx, w.tenant, &chains[i]); err != nil {
			return nil, err
		}
		body, err := json.Marshal(chains[i].Document)
		if err == nil && len(body) > p.MaxChain {
			l.problems = append(l.problems, Problem{Chain: chains[i].RuleChain.Name, Text: fmt.Sprintf("it has %d bytes, %d are allowed", len(body), p.MaxChain)})
		}
	}
	return l.problems, nil
}

func (l *linter) chain(ctx context.Context, tenant ident.TenantID, c *exported) error {
	from := len(l.problems)
	defer func() {
		for i := range l.problems[from:] {
			l.problems[from+i].Chain = c.RuleChain.Name
		}
	}()
	if c.RuleChain.Name == "" {
		l.refuse(errors.New("ruleChain.name: a name is needed"))
	}
	if kind := c.RuleChain.Type; kind != "" && kind != entity.CoreChain && kind != "EDGE" {
		l.refuse(fmt.Errorf("ruleChain.type: %q is neither CORE nor EDGE", kind))
	}
	g := &c.Metadata
	if err := g.Unfold(); err != nil {
		l.refuse(err)
	}
	examined := make([]rule.Examined, len(g.Nodes))
	for i := range g.Nodes {
		l.scripts.prepared = nil
		examined[i] = l.compiler.Examine(tenant, c.ID, &g.Nodes[i])
		l.node(i, &g.Nodes[i], examined[i])
		if err := l.compile(ctx, i, &g.Nodes[i]); err != nil {
			return err
		}
		l.enters(i, &g.Nodes[i])
	}
	for _, err := range g.LinkFaults() {
		l.refuse(err)
	}
	l.ways(g, examined)
	return nil
}

// refuse notes an error that is not about a node.
func (l *linter) refuse(err error) {
	field, text := place(err)
	l.problems = append(l.problems, Problem{Field: field, Text: text})
}

// about notes a problem of a node.
func (l *linter) about(i int, n *rule.NodeEntry, warning bool, err error) {
	field, text := place(err)
	l.problems = append(l.problems, Problem{Node: &i, Name: n.Name, Field: field, Warning: warning, Text: text})
}

func (l *linter) node(i int, n *rule.NodeEntry, x rule.Examined) {
	switch {
	case x.Refused != nil:
		l.about(i, n, false, x.Refused)
	case !x.Known && n.Type != "":
		l.about(i, n, false, fmt.Errorf("type: %s is not known; messages that reach the node fail", n.Type))
	case x.Kind.New == nil && n.Type != "":
		l.about(i, n, false, fmt.Errorf("type: %s is not built yet; messages that reach the node fail", n.Type))
	case x.Broken != nil:
		l.about(i, n, false, fmt.Errorf("configuration.%s", unwrapped(x.Broken)))
	}
	if n.Name == "" {
		l.about(i, n, true, errors.New("name: there is none, so that nobody will know it in a trace"))
	}
}

// compile has the node's scripts compiled.
func (l *linter) compile(ctx context.Context, i int, n *rule.NodeEntry) error {
	for _, s := range l.scripts.prepared {
		compiled, can := s.(Compiled)
		if !can {
			continue
		}
		err := compiled.Compile(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case rule.PlatformFault(err):
			return fmt.Errorf("compile the script of node %d %q: %w", i, n.Name, err)
		default:
			l.about(i, n, false, fmt.Errorf("configuration.%s: %w", scriptField(n), err))
		}
	}
	return nil
}

// scriptField is the field of n's configuration that is likely to hold its script.
func scriptField(n *rule.NodeEntry) string {
	var config map[string]any
	_ = json.Unmarshal(n.Configuration, &config) // it was read before
	for _, field := range [...]string{"jsScript", "alarmDetailsBuildJs"} {
		if _, there := config[field]; there {
			return field
		}
	}
	return "script"
}

// enters warns of a node that enters a chain which is not in the file.
func (l *linter) enters(i int, n *rule.NodeEntry) {
	var config struct {
		RuleChainID string `json:"ruleChainId"`
	}
	if n.Type != inputClass || json.Unmarshal(n.Configuration, &config) != nil {
		return
	}
	id, err := ident.Parse(config.RuleChainID)
	if err == nil && !id.IsZero() && !l.known[id] {
		l.about(i, n, true, fmt.Errorf("configuration.ruleChainId: %s is not in this file: where it is imported it has to be there; export both as a bundle", id))
	}
}

// path is a field in front of an error's text: ruleChain.name, metadata.connections[1].type, jsScript.
var path = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*(?:\[\d+\])?(?:\.[A-Za-z][A-Za-z0-9]*(?:\[\d+\])?)*): `)

// place splits an error's text into the field it begins with, if it does, and the rest.
func place(err error) (field, text string) {
	text = err.Error()
	for {
		match := path.FindStringSubmatch(text)
		if match == nil || strings.HasSuffix(match[1], "Error") { // SyntaxError is none
			return field, text
		}
		if field != "" {
			field += "."
		}
		field += match[1]
		text = text[len(match[0]):]
	}
}

// unwrapped is why a node cannot run without what the node's name says already.
func unwrapped(err error) string {
	text := err.Error()
	if _, after, found := strings.Cut(text, "cannot run: "); found {
		text = after
	}
	return strings.Replace(text, rule.ErrNotStartable.Error()+": ", "", 1)
}
