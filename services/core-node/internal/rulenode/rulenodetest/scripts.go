package rulenodetest

import (
	"context"
	"slices"
	"sync"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Scripts implements rule.Scripts without running anything: the test gives the answers. Safe for concurrent use once
// its exported fields are set.
type Scripts struct {
	// Refuse is the error of every Prepare.
	Refuse error
	// Answer gives the result of each call as JSON text, "" for a script that returned nothing; nil answers "null".
	Answer func(args []string) (string, error)

	mu       sync.Mutex
	prepared []Prepared
	calls    [][]string
}

// Prepared is a script a node gave to Prepare.
type Prepared struct {
	Parameters []string
	Body       string
}

// Return makes result the answer to every call.
func (s *Scripts) Return(result string) {
	s.Answer = func([]string) (string, error) { return result, nil }
}

// Throw makes err the answer to every call.
func (s *Scripts) Throw(err error) {
	s.Answer = func([]string) (string, error) { return "", err }
}

// Prepare implements rule.Scripts.
func (s *Scripts) Prepare(_ ident.TenantID, parameters []string, body string) (rule.Script, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = append(s.prepared, Prepared{slices.Clone(parameters), body})
	if s.Refuse != nil {
		return nil, s.Refuse
	}
	return (*script)(s), nil
}

// Prepared is what was prepared so far, in order.
func (s *Scripts) Prepared() []Prepared {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.prepared)
}

// Calls is the arguments of every call so far, in order.
func (s *Scripts) Calls() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// script is any of the prepared scripts.
type script Scripts

func (s *script) Call(_ context.Context, args []string) (string, error) {
	s.mu.Lock()
	s.calls = append(s.calls, slices.Clone(args))
	s.mu.Unlock()
	if s.Answer == nil {
		return "null", nil
	}
	return s.Answer(args)
}
