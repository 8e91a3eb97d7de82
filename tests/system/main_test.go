package system

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if _, err := binaryPath(); err != nil { // before any scenario's clock runs
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	fmt.Print(theFaults.Rows())
	if err := errors.Join(endParts(), writeFaults(), RemoveBinary()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
