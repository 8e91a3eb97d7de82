package script

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// refusedWords are what no script may contain outside comments and literals, with what its author is told.
var refusedWords = map[string]string{
	"async":      "Script must not contain 'async' keyword.",
	"await":      "Script must not contain 'await' keyword.",
	"Promise":    "Script must not use 'Promise'.",
	"setTimeout": "Script must not use 'setTimeout' method.",
}

// examine refuses a body for what can be seen without compiling it. That nothing asynchronous survives a call does not depend on it.
func examine(body string, most int) error {
	if strings.TrimSpace(body) == "" {
		return &Error{Kind: Invalid, Text: "Script body is empty"}
	}
	if longer(most, body) {
		return &Error{Kind: Invalid, Text: fmt.Sprintf("Script body exceeds maximum allowed size of %d symbols", most)}
	}
	for i := 0; i < len(body); {
		switch {
		case strings.HasPrefix(body[i:], "//"):
			i = behind(body, i, "\n")
		case strings.HasPrefix(body[i:], "/*"):
			i = behind(body, i+2, "*/")
		case body[i] == '"' || body[i] == '\'' || body[i] == '`':
			i = behindLiteral(body, i)
		case letter(body[i]):
			end := i
			for end < len(body) && letter(body[end]) {
				end++
			}
			if text, refused := refusedWords[body[i:end]]; refused {
				return &Error{Kind: Invalid, Text: text, Line: 1 + strings.Count(body[:i], "\n")}
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// behind returns the index behind the next mark, or the end.
func behind(body string, from int, mark string) int {
	if at := strings.Index(body[from:], mark); at >= 0 {
		return from + at + len(mark)
	}
	return len(body)
}

// behindLiteral returns the index behind the literal that begins at from; one in simple quotes ends with its line.
func behindLiteral(body string, from int) int {
	quote := body[from]
	for i := from + 1; i < len(body); i++ {
		switch {
		case body[i] == '\\':
			i++
		case body[i] == quote, body[i] == '\n' && quote != '`':
			return i + 1
		}
	}
	return len(body)
}

func letter(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// longer reports whether texts have more than limit UTF-16 code units together.
func longer(limit int, texts ...string) bool {
	bytes := 0
	for _, t := range texts {
		bytes += len(t)
	}
	if bytes <= limit { // never more units than bytes
		return false
	}
	units := 0
	for _, t := range texts {
		for _, r := range t {
			units += max(1, utf16.RuneLen(r))
		}
	}
	return units > limit
}
