package s3

import (
	"bytes"
	"html"
)

// element is what an XML element holds: text, or further elements. S3's answers are read by the names of their elements, which are
// never inside one of the same name; attributes mean nothing to us, and comments do not occur.
type element []byte

// cut returns what the first element of a name within e holds, and what follows it.
func (e element) cut(name string) (inner, after element, found bool) {
	for rest := e; ; {
		at := bytes.IndexByte(rest, '<')
		if at < 0 {
			return nil, nil, false
		}
		tag, behind, whole := bytes.Cut(rest[at+1:], []byte(">"))
		if !whole {
			return nil, nil, false
		}
		rest = behind
		named, isOne := bytes.CutPrefix(tag, []byte(name))
		switch {
		case !isOne || len(named) > 0 && !bytes.ContainsAny(named[:1], " \t\r\n/"):
			continue // another's, whose name may begin the same way
		case bytes.HasSuffix(named, []byte("/")):
			return nil, rest, true
		}
		inner, after, found = bytes.Cut(rest, []byte("</"+name+">"))
		return inner, after, found
	}
}

// text returns what the first element of a name holds as text; "" where there is none.
func (e element) text(name string) string {
	inner, _, _ := e.cut(name)
	return html.UnescapeString(string(inner))
}
