// Package keys is a choice of keys by regular expressions.
package keys

import (
	"fmt"
	"regexp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Choice is the keys that as a whole match one of its expressions. Safe for concurrent use.
type Choice []*regexp.Regexp

// Compile returns the choice of expressions; the error names field.
func Compile(field string, expressions []string) (Choice, error) {
	var c Choice
	for i, text := range expressions {
		if text == "" {
			return nil, fmt.Errorf("%s[%d]: an expression is needed", field, i)
		}
		expression, err := regexp.Compile(`\A(?:` + text + `)\z`)
		if err != nil {
			// It may be sound where look-ahead and back-references are known.
			return nil, fmt.Errorf("%s[%d]: %w: %w", field, i, rule.ErrNotStartable, err)
		}
		c = append(c, expression)
	}
	return c, nil
}

// Has reports whether key is chosen.
func (c Choice) Has(key string) bool {
	for _, expression := range c {
		if expression.MatchString(key) {
			return true
		}
	}
	return false
}
