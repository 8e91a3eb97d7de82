package child

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "child":
			os.Exit(Main(os.Args[2:]))
		case "probe":
			os.Exit(probe())
		}
	}
	os.Exit(m.Run())
}
