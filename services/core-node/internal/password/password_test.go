package password_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVerify(t *testing.T) {
	h := password.NewHasher(2, 8)
	dear, err := h.Hash(t.Context(), "wörd")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.Hash(t.Context(), "wörd"); err != nil || again == dear || !strings.HasPrefix(dear, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hashes are %q and %q, %v", dear, again, err)
	}
	for _, hash := range []string{dear, password.HashPublished("wörd")} {
		for given, want := range map[string]bool{"wörd": true, "word": false, "": false, "wörd ": false} {
			if got, err := h.Verify(t.Context(), given, hash); err != nil || got != want {
				t.Errorf("%q against %q: %v, %v", given, hash, got, err)
			}
		}
	}
	if err := h.VerifyNobody(t.Context(), "wörd"); err != nil {
		t.Error(err)
	}
}

func TestMalformedHash(t *testing.T) {
	h := password.NewHasher(1, 1)
	good := password.HashPublished("x")
	fields := strings.Split(good, "$")
	with := func(i int, text string) string {
		changed := append([]string{}, fields...)
		changed[i] = text
		return strings.Join(changed, "$")
	}
	for _, hash := range []string{
		"", "x", good + "$", with(1, "argon2i"), with(2, "v=16"), with(3, "m=64,t=1"), with(3, "m=64,t=0,p=1"),
		with(3, "m=4000000000,t=1,p=1"), with(3, "m=64,t=100,p=1"), with(3, "m=64,t=1,p=0"), with(3, "m=-1,t=1,p=1"),
		with(4, "!"), with(5, "!"), with(5, "AAAA"),
	} {
		if ok, err := h.Verify(t.Context(), "x", hash); !errors.Is(err, password.ErrHash) || ok {
			t.Errorf("%q: %v, %v", hash, ok, err)
		}
	}
}

// Hashing takes no time by the test's clock: who waits is whom the bound makes wait.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := password.NewHasher(1, 1)
		release := h.Occupy()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waited := make(chan error)
		go func() { _, err := h.Hash(ctx, "second"); waited <- err }()
		synctest.Wait()
		if _, err := h.Hash(t.Context(), "third"); fault.KindOf(err) != fault.Limited {
			t.Errorf("one more than may wait: %v", err)
		}
		if err := <-waited; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting ended with %v", err)
		}
		release()
		if _, err := h.Hash(t.Context(), "fourth"); err != nil {
			t.Errorf("after the first is done: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add(password.HashPublished("x"))
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, hash string) {
		if err := password.Check(hash); err != nil && !errors.Is(err, password.ErrHash) {
			t.Errorf("%q: %v", hash, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := password.NewHasher(2, 2)
	hash, err := h.Hash(b.Context(), "x")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Verify(b.Context(), "x", hash); err != nil {
			b.Fatal(err)
		}
	}
}
