package s3

import (
	"bytes"
	"testing"
)

func TestElements(t *testing.T) {
	for _, c := range []struct{ text, name, inner, after string }{
		{`<?xml version="1.0"?><R xmlns="x"><A>1</A></R>`, "R", "<A>1</A>", ""},
		{`<UploadId>7</UploadId><Upload><Key>k</Key></Upload><Upload/>`, "Upload", "<Key>k</Key>", "<Upload/>"},
		{`<Upload/>rest`, "Upload", "", "rest"},
		{"<A\n b='c'>x</A>", "A", "x", ""},
		{`<A></A>`, "A", "", ""},
	} {
		inner, after, found := element(c.text).cut(c.name)
		if !found || string(inner) != c.inner || string(after) != c.after {
			t.Errorf("%s: %q, %q, %v", c.text, inner, after, found)
		}
	}
	for _, text := range []string{"", "A", "<A", "<A>", "<A>1</B>", "<B>1</B>", "</A>", "<AB>1</AB>"} {
		if inner, _, found := element(text).cut("A"); found {
			t.Errorf("%q holds %q", text, inner)
		}
	}
	if got := element(`<A>a &amp; b&lt;&#x41;&quot;&amp;lt;</A>`).text("A"); got != `a & b<A"&lt;` {
		t.Errorf("read as %q", got)
	}
}

// FuzzElement: whatever a server sends, what is read of it stands in it.
func FuzzElement(f *testing.F) {
	f.Add([]byte(`<R><A>1</A></R>`), "A")
	f.Add([]byte(`<A/>`), "A")
	f.Add([]byte(`<A`), "")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		inner, after, found := element(text).cut(name)
		if found && (!bytes.Contains(text, inner) || !bytes.HasSuffix(text, after) || len(inner)+len(after) >= len(text)) {
			t.Errorf("%q: %q and %q", text, inner, after)
		}
		_ = element(text).text(name)
	})
}
