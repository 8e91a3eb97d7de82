package object

import (
	"errors"
	"strconv"
	"testing"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

func TestMembersKeepTheirOrder(t *testing.T) {
	o, err := Parse(` {"b": 1, "a":"x", "c":{"d":[1, 2]}, "b":2} `)
	if err != nil {
		t.Fatal(err)
	}
	o.SetText("z", "new\u2028")
	o.Set("a", []byte("true"))
	if !o.Delete(func(name string) bool { return name == "c" }) || o.Delete(func(name string) bool { return name == "none" }) {
		t.Error("Delete tells wrongly")
	}
	if got, want := o.Text(), "{\"b\":2,\"a\":true,\"z\":\"new\u2028\"}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, ok := o.Get("c"); ok || Plain(Quote("q")) != "q" {
		t.Error("c is there, or Plain does not unquote")
	}
}

func TestManyMembersAreFound(t *testing.T) {
	o := &Object{}
	for i := range 3 * many {
		o.Set(strconv.Itoa(i), []byte("1"))
	}
	o.Delete(func(name string) bool { return len(name) == 1 })
	o.Set("50", []byte("2"))
	if v, ok := o.Get("50"); len(o.Members()) != 3*many-10 || !ok || string(v) != "2" {
		t.Errorf("%d members, 50 is %s", len(o.Members()), v)
	}
	if _, ok := o.Get("5"); ok {
		t.Error("5 is there")
	}
}

func TestTypedBodiesAreObjects(t *testing.T) {
	body := rule.BodyOf([]telemetry.KeyValue{{Key: "a", Value: telemetry.OfLong(1)}, {Key: "j", Value: telemetry.OfJSON(`{"x":1}`)}})
	o, err := Read(body)
	if err != nil || o.Body().Text() != `{"a":1,"j":{"x":1}}` {
		t.Errorf("%v, %v", o, err)
	}
}

func TestWhatIsNoObject(t *testing.T) {
	for _, text := range []string{``, `[1]`, `"a"`, `{"a":1}}`, `{"a":1`, `{a:1}`, `hello`, `{"a":1,}`} {
		if _, err := Parse(text); !errors.Is(err, ErrNot) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What is parsed comes back the same when it is parsed again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{"c":null}]}`, `{"a":"\ud800"}`, `{"a":1,"a":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(o.Text())
		if err != nil || again.Text() != o.Text() {
			t.Errorf("%q becomes %q, then %v %v", text, o.Text(), again, err)
		}
	})
}
