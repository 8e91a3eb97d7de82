package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/process"
)

// node answers as a core node's admin listener does, for one letter.
func node(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dead-letters", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"id":"7-1","originatorName":"T1\u001b[2J","where":"save","error":"refused","attempts":3,"failedAt":1700000000000}]`)
	})
	mux.HandleFunc("GET /dead-letters/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "7-1" {
			http.Error(w, `{"error":"no such dead letter"}`, http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"id":"7-1"}`)
	})
	mux.HandleFunc("POST /dead-letters/{id}/{act}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "the admin token is missing or wrong", http.StatusUnauthorized)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestDeadLetters(t *testing.T) {
	admin := node(t)
	for _, c := range []struct {
		args, out, errs string
		code            int
	}{
		{args: "list", out: "ID   FAILED AT             ORIGINATOR   ATTEMPTS  WHERE   ERROR\n7-1  2023-11-14T22:13:20Z  \"T1\\x1b[2J\"  3         \"save\"  \"refused\"\n"},
		{args: "show 7-1", out: "{\n  \"id\": \"7-1\"\n}\n"},
		{args: "show 9", code: 1, errs: "show dead letter 9: the node answered 404 Not Found: no such dead letter"},
		{args: "replay 7-1 --admin-token=secret", out: "7-1 is handled again\n"},
		{args: "discard 7-1 --admin-token=secret", out: "7-1 is discarded\n"},
		{args: "discard 7-1", code: 1, errs: "401"},
		{args: "replay", code: 2, errs: "<id>"},
		{args: "list --data=/no/such/folder", code: 1, errs: "admin.sock"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errs bytes.Buffer
			inv := process.Invocation{Name: "sluice", Stdout: &out, Stderr: &errs}
			inv.Args = append([]string{"dead-letters"}, append(strings.Fields(c.args), "--admin="+admin)...)
			if code := process.Execute(inv, &commands{}); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if out.String() != c.out || !strings.Contains(errs.String(), c.errs) || c.errs == "" && errs.Len() > 0 {
				t.Errorf("wrote %q and %q, want %q and %q", &out, &errs, c.out, c.errs)
			}
		})
	}
}
