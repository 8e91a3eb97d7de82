package ring

import (
	"context"
	"errors"
	"time"
)

// What a request can end with. Everything but errLost and a context's end is an answer: ZooKeeper's quorum has seen the
// request, in the session it was made in.
var (
	errExists  = errors.New("znode exists")
	errNoNode  = errors.New("no such znode")
	errVersion = errors.New("znode has another version")
	// errLost: the connection or the session ended before the answer; a change may or may not have been made.
	errLost = errors.New("connection to ZooKeeper lost")
)

// connector opens sessions.
type connector interface {
	// Connect returns a new session once ZooKeeper has made it, or the context's error.
	Connect(ctx context.Context) (connection, error)
}

// connection is one session with ZooKeeper: it reconnects by itself while the session may live, and is of no use after.
// Requests are done in the order in which they are made. Safe for concurrent use.
type connection interface {
	// Session is the id, and the time-out as negotiated.
	Session() (id int64, timeout time.Duration)
	// Apply makes all changes or none.
	Apply(ctx context.Context, changes ...change) error
	// Read returns the znode at path, or errNoNode. changed, unless nil, is called at most once, when the znode may have been made,
	// changed or removed since; it must not block. It may be called without need, and is if the session is over.
	Read(ctx context.Context, path string, changed func()) (znode, error)
	// List returns the names of the children of path; changed as with Read, for their coming and going.
	List(ctx context.Context, path string, changed func()) ([]string, error)
	// Expired is closed when the session is known to be over.
	Expired() <-chan struct{}
	// Close ends the session, and with it its ephemerals; what is asked meanwhile ends with errLost.
	Close()
}

// znode is what is stored at a path.
type znode struct {
	data    []byte
	version int32
	owner   int64 // session of an ephemeral, else 0
}

// change is one step of a transaction.
type change struct {
	kind      changeKind
	path      string
	data      []byte
	version   int32 // expected; anyVersion for no matter
	ephemeral bool
}

type changeKind int

const (
	create changeKind = iota
	update
	remove
)

const anyVersion = -1
