package conformance

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "run the tests and write docs/reference/conformance.md")

const (
	module   = "github.com/sluice-iot/sluice/"
	pagePath = "docs/reference/conformance.md"
)

// searched are the folders whose tests show cases.
var searched = append([]string{"services/core-node", "services/js-executor", "proto"}, protocols...)

var listed = regexp.MustCompile("(?m)^\\| ([ABCEQMGHV][0-9]+) \\| `([^`]+)` in `([^`]+)` \\| (\\w+) \\|$")

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPage holds the page to the tests there are. With -update it runs them, and writes it.
func TestPage(t *testing.T) {
	dir := root(t)
	sources := map[string]string{}
	if *update {
		write(t, dir)
	}
	page, err := os.ReadFile(filepath.Join(dir, pagePath))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[id]bool{}
	for _, row := range listed.FindAllStringSubmatch(string(page), -1) {
		test, folder, result := row[2], row[3], row[4]
		id := idIn(folder, row[1])
		seen[id] = true
		if result != "pass" {
			t.Errorf("%s: %s did not pass", id.name, test)
		}
		if _, read := sources[folder]; !read {
			sources[folder] = testsOf(t, filepath.Join(dir, folder))
		}
		parts := strings.Split(test, "/")
		if !strings.Contains(sources[folder], "func "+parts[0]+"(") || !strings.Contains(sources[folder], id.name) {
			t.Errorf("%s: %s is not in %s: run `make conformance`", id.name, test, folder)
		}
	}
	for _, s := range all {
		for _, id := range s.ids() {
			if !seen[id] && leftOut[id] == "" {
				t.Errorf("%s (%s) is shown by no test, and not said to be left out", id.name, s.about)
			}
			if seen[id] && leftOut[id] != "" {
				t.Errorf("%s (%s) is said to be left out, and shown", id.name, s.about)
			}
		}
	}
}

// testsOf returns the text of a folder's tests.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// write runs the tests and writes the page.
func write(t *testing.T, dir string) {
	t.Helper()
	found := results{}
	var failed error
	for _, folder := range searched {
		args := []string{"test", "-json", "-count=1"}
		if folder == "tests/system" {
			args = append(args, "-run", "TestDeviceAPI", "./"+folder)
		} else {
			args = append(args, "./"+folder+"/...")
		}
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		failed = errors.Join(failed, cmd.Run()) // what failed is told of on the page
		if err := found.read(&out, module); err != nil {
			t.Fatalf("%v (%v)", err, failed)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, pagePath), []byte(found.page()), 0o644); err != nil {
		t.Fatal(err)
	}
}
