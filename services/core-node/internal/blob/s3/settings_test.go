package s3

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func valid() Settings {
	return Settings{Bucket: "the-bucket", Region: "eu-central-1", Prefix: "sluice/", KeyID: "id", Secret: "secret", Timeout: time.Second}
}

// TestSettingsThatMeanNothing are refused by their name.
func TestSettingsThatMeanNothing(t *testing.T) {
	for _, c := range []struct {
		change func(*Settings)
		name   string
	}{
		{func(s *Settings) { *s = Settings{Endpoint: "https://s3.example.org"} }, "--blob-s3-endpoint:"},
		{func(s *Settings) { *s = Settings{KeyID: "id"} }, "--blob-s3-key-id:"},
		{func(s *Settings) { *s = Settings{Secret: "secret"} }, "--blob-s3-secret:"},
		{func(s *Settings) { s.Bucket = "The_Bucket" }, "--blob-s3-bucket:"},
		{func(s *Settings) { s.Bucket = "a/b" }, "--blob-s3-bucket:"},
		{func(s *Settings) { s.Region = "" }, "--blob-s3-region:"},
		{func(s *Settings) { s.Region = "eu.evil.org/" }, "--blob-s3-region:"},
		{func(s *Settings) { s.Prefix = "sluice" }, "--blob-s3-prefix:"},
		{func(s *Settings) { s.Prefix = "/" }, "--blob-s3-prefix:"},
		{func(s *Settings) { s.Prefix = "../" }, "--blob-s3-prefix:"},
		{func(s *Settings) { s.Prefix = "a b/" }, "--blob-s3-prefix:"},
		{func(s *Settings) { s.KeyID = "" }, "--blob-s3-key-id:"},
		{func(s *Settings) { s.Secret = "" }, "--blob-s3-secret:"},
		{func(s *Settings) { s.Timeout = 0 }, "--blob-s3-timeout:"},
		{func(s *Settings) { s.Endpoint = "s3.example.org" }, "--blob-s3-endpoint:"},
		{func(s *Settings) { s.Endpoint = "ftp://s3.example.org" }, "--blob-s3-endpoint:"},
		{func(s *Settings) { s.Endpoint = "https://s3.example.org/the-bucket" }, "--blob-s3-endpoint:"},
		{func(s *Settings) { s.Endpoint = "https://id:secret@s3.example.org" }, "--blob-s3-endpoint:"},
		{func(s *Settings) { s.Endpoint = "https://" }, "--blob-s3-endpoint:"},
		{func(s *Settings) { s.Endpoint = "http://8.8.8.8:9000" }, "--blob-s3-endpoint:"},
		{func(s *Settings) { s.Endpoint = "http://[::ffff:8.8.8.8]:9000" }, "--blob-s3-endpoint:"},
	} {
		s := valid()
		c.change(&s)
		err := s.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), c.name) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%+v: %v, want %s", s, err, c.name)
		}
		if _, err := New(Options{Settings: s}); s.Bucket != "" && err == nil {
			t.Errorf("%+v: opened", s)
		}
	}
}

func TestSettingsThatAreRight(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                                 "https://s3.eu-central-1.amazonaws.com",
		"https://storage.googleapis.com/":  "https://storage.googleapis.com",
		"https://8.8.8.8":                  "https://8.8.8.8",
		"http://localhost:9000":            "http://localhost:9000",
		"http://127.0.0.1:9000":            "http://127.0.0.1:9000",
		"http://[::1]:9000":                "http://[::1]:9000",
		"http://10.1.2.3:9000":             "http://10.1.2.3:9000",
		"http://minio.storage.svc.cluster": "http://minio.storage.svc.cluster",
	} {
		s := valid()
		s.Endpoint, s.Prefix = endpoint, ""
		at, err := s.address()
		if err := errors.Join(err, s.Validate()); err != nil || at.String() != want {
			t.Errorf("%q: %v, %v", endpoint, at, err)
		}
	}
	if err := (Settings{Region: "us-east-1", Prefix: "sluice/", Timeout: time.Second}).Validate(); err != nil {
		t.Errorf("no bucket: %v", err)
	}
}

// TestNothingInTheClearOverTheInternet: a name is judged by what it leads to.
func TestNothingInTheClearOverTheInternet(t *testing.T) {
	for address, want := range map[string]error{
		"127.0.0.1:80": nil, "192.168.1.1:9000": nil, "172.16.0.1:9000": nil, "[fd00::1]:9000": nil,
		"8.8.8.8:80": errPublic, "172.32.0.1:80": errPublic, "[2606:4700::1]:80": errPublic,
	} {
		if err := nearOnly("tcp", address, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
