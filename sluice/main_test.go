package main

import (
	"os"
	"testing"

	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
)

// TestMain makes the tests' own program that of the processes which run scripts, as main does.
func TestMain(m *testing.M) {
	if jsexecutor.IsChild(os.Args) {
		os.Exit(jsexecutor.Child(os.Args))
	}
	os.Exit(m.Run())
}
