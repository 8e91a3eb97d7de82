package doctor

import (
	"context"
	"errors"
	"fmt"
)

// openFiles is what a transport of a few thousand connections needs at least, a file each.
const openFiles = 65536

var errFewFiles = errors.New("a transport has a file open per connection")

// host looks at the limits of this process, which those of a member are when it is started the same way.
func (d *Doctor) host(context.Context) []finding {
	f := finding{about: "open files"}
	soft, known := openFileLimit()
	switch {
	case !known:
		f.told = "this system tells no limit"
	case soft < openFiles:
		f.err, f.warning = fmt.Errorf("at most %d, and %d are advised: %w", soft, openFiles, errFewFiles), true
	default:
		f.told = fmt.Sprintf("at most %d", soft)
	}
	return []finding{f}
}
