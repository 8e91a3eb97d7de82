//go:build fleet

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/blobtest"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/s3"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_S3") == "" {
		fmt.Println("SLUICE_TEST_S3 is not set: it names the S3 server to test with, host:port")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// realBucket are the options of a store in the S3 under test, under a prefix of its own.
func realBucket() s3.Options {
	return s3.Options{Settings: s3.Settings{
		Bucket: "sluice-test", Endpoint: "http://" + os.Getenv("SLUICE_TEST_S3"), Region: "us-east-1", Prefix: ident.New().String() + "/",
		KeyID: "sluice", Secret: "not-a-secret", Timeout: 30 * time.Second,
	}, Pause: 10 * time.Millisecond, Abandoned: time.Hour}
}

func TestRealS3(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store { return opened(t, realBucket()) })
}

// TestRealS3KeepsLargeBlobs: sizes about those of one and of two requests, and many requests, with a prefix of folders and with none.
func TestRealS3KeepsLargeBlobs(t *testing.T) {
	for _, c := range []struct {
		prefix string
		size   int
	}{{"", 8<<20 - 1}, {"", 8<<20 + 1}, {"a/b-c/D_e.f/", 16 << 20}, {"a/", 16<<20 + 1}, {"a/", 50<<20 + 12345}} {
		o := realBucket()
		o.Prefix = c.prefix
		s, name, data := opened(t, o), "tenant/"+ident.New().String(), blobtest.Data(c.size, 7)
		if err := s.Put(t.Context(), name, bytes.NewReader(data)); err != nil {
			t.Fatalf("put %d bytes: %v", c.size, err)
		}
		got := make([]byte, c.size+1)
		if n, err := s.ReadAt(t.Context(), name, got, 0); err != nil || n != c.size || !bytes.Equal(got[:n], data) {
			t.Errorf("%d bytes: read %d, %v, or others", c.size, n, err)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

// TestRealS3RefusesAnotherKey: the server does check signatures; the error says what is wrong and holds no secret.
func TestRealS3RefusesAnotherKey(t *testing.T) {
	for doing, change := range map[string]func(*s3.Options){
		"another secret": func(o *s3.Options) { o.Secret = "guessed-secret" },
		"another id":     func(o *s3.Options) { o.KeyID = "somebody" },
	} {
		o := realBucket()
		change(&o)
		s := opened(t, o)
		_, readErr := s.ReadAt(t.Context(), "tenant/blob", make([]byte, 10), 0)
		for _, err := range []error{
			s.Put(t.Context(), "tenant/blob", strings.NewReader("data")), readErr, s.Delete(t.Context(), "tenant/blob"),
		} {
			if !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "--blob-s3-secret") || strings.Contains(err.Error(), o.Secret) {
				t.Errorf("%s: %v", doing, err)
			}
		}
	}
	o := realBucket()
	o.Bucket = "nobodys-bucket"
	if _, err := opened(t, o).ReadAt(t.Context(), "tenant/blob", make([]byte, 10), 0); !errors.Is(err, blob.ErrUnavailable) || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("another bucket: %v", err)
	}
}

// TestRealS3EndsWhatADeadProcessLeft: an upload is left alone until it is old, or its blob is deleted; whole blobs stay.
func TestRealS3EndsWhatADeadProcessLeft(t *testing.T) {
	o, now := realBucket(), time.Now()
	o.Now = func() time.Time { return now }
	s := opened(t, o)
	if err := s.Put(t.Context(), "tenant/whole", strings.NewReader("data")); err != nil {
		t.Fatal(err)
	}
	// half leaves an upload behind as a process that dies does: nothing that is asked after its end arrives.
	half := func(name string) {
		t.Helper()
		ctx, die := context.WithCancel(t.Context())
		dying := dyingAfter(t, o, die)
		if err := dying.Put(ctx, name, bytes.NewReader(blobtest.Data(20<<20, 3))); err == nil {
			t.Fatal("it did not die")
		}
	}
	half("tenant/half")
	half("tenant/half-other")
	sweep := func(after time.Duration, want int) {
		t.Helper()
		now = time.Now().Add(after)
		if n, err := s.Sweep(t.Context()); n != want || err != nil {
			t.Errorf("after %v: swept %d, %v; want %d", after, n, err, want)
		}
	}
	sweep(time.Minute, 0)
	if err := s.Delete(t.Context(), "tenant/half"); err != nil {
		t.Error(err)
	}
	sweep(2*time.Hour, 1)
	sweep(3*time.Hour, 0)
	got := make([]byte, 10)
	if n, err := s.ReadAt(t.Context(), "tenant/whole", got, 0); err != nil || string(got[:n]) != "data" {
		t.Errorf("the whole one: %q, %v", got[:n], err)
	}
}
