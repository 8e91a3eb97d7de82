package schema

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
)

// lexer cuts a text into tokens.
type lexer struct {
	text string
	pos  int
	line int

	token  string // the present one; "" at the end
	quoted bool   // it is the content of a string
}

// next reads the next token: a name, a number, a string's content, or one character.
func (l *lexer) next() error {
	if err := l.skipSpace(); err != nil {
		return err
	}
	l.token, l.quoted = "", false
	if l.pos == len(l.text) {
		return nil
	}
	start, c := l.pos, l.text[l.pos]
	switch {
	case c == '"' || c == '\'':
		return l.quote(c)
	case isWord(c):
		for l.pos < len(l.text) && (isWord(l.text[l.pos]) || l.text[l.pos] == '.') {
			l.pos++
		}
	default:
		l.pos++
	}
	l.token = l.text[start:l.pos]
	return nil
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// skipSpace goes past space and comments.
func (l *lexer) skipSpace() error {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == '\n':
			l.line++
			l.pos++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			l.pos++
		case strings.HasPrefix(l.text[l.pos:], "//"):
			for l.pos < len(l.text) && l.text[l.pos] != '\n' {
				l.pos++
			}
		case strings.HasPrefix(l.text[l.pos:], "/*"):
			end := strings.Index(l.text[l.pos+2:], "*/")
			if end < 0 {
				return l.fail("a comment without its end")
			}
			l.line += strings.Count(l.text[l.pos:l.pos+2+end], "\n")
			l.pos += end + 4
		default:
			return nil
		}
	}
	return nil
}

// quote reads a string. Of escapes only those of its quotes are of use in a schema.
func (l *lexer) quote(mark byte) error {
	l.quoted = true
	var out strings.Builder
	for l.pos++; l.pos < len(l.text); l.pos++ {
		switch c := l.text[l.pos]; c {
		case mark:
			l.pos++
			l.token = out.String()
			return nil
		case '\n':
			return l.fail("a string without its closing quote")
		case '\\':
			if l.pos++; l.pos < len(l.text) {
				out.WriteByte(l.text[l.pos])
			}
		default:
			out.WriteByte(c)
		}
	}
	return l.fail("a string without its closing quote")
}

// accept goes past the token if it is this one.
func (l *lexer) accept(token string) (bool, error) {
	if l.quoted || l.token != token {
		return false, nil
	}
	return true, l.next()
}

func (l *lexer) expect(token string) error {
	found, err := l.accept(token)
	if err == nil && !found {
		err = l.fail("%q is expected", token)
	}
	return err
}

// name reads an identifier; dots: it may have several parts, and begin with one.
func (l *lexer) name(dots bool) (string, error) {
	prefix := ""
	if dots && !l.quoted && l.token == "." {
		prefix = "."
		if err := l.next(); err != nil {
			return "", err
		}
	}
	name := l.token
	if l.quoted || name == "" || !isWord(name[0]) || '0' <= name[0] && name[0] <= '9' || !dots && strings.Contains(name, ".") || strings.HasSuffix(name, ".") || len(name) > maxName {
		return "", l.fail("a name is expected")
	}
	return prefix + name, l.next()
}

// number reads an integer.
func (l *lexer) number() (int64, error) {
	sign := ""
	if !l.quoted && l.token == "-" {
		sign = "-"
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n, err := strconv.ParseInt(sign+l.token, 0, 64)
	if err != nil || l.quoted {
		return 0, l.fail("an integer is expected")
	}
	return n, l.next()
}

// skipUntil goes past the next of these characters outside of brackets.
func (l *lexer) skipUntil(ends string) error {
	depth := 0
	for {
		token, quoted := l.token, l.quoted
		if token == "" && !quoted {
			return l.fail("%q is expected", ends)
		}
		if !quoted && depth == 0 && len(token) == 1 && strings.Contains(ends, token) {
			return nil
		}
		if !quoted {
			switch token {
			case "{", "[", "(", "<":
				depth++
			case "}", "]", ")", ">":
				depth--
			}
		}
		if err := l.next(); err != nil {
			return err
		}
	}
}

func (l *lexer) fail(format string, values ...any) error {
	return fault.New(fault.Invalid, fmt.Sprintf("schema, line %d: ", l.line)+fmt.Sprintf(format, values...))
}
