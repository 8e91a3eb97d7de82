package listener

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// poller reads the TCP connections given to it, all in one goroutine: a connection that sleeps
// needs neither a stack nor a place in the runtime's poller. It waits on an epoll instance, which
// in turn the runtime's poller waits on, so that waiting blocks no thread.
//
// A connection is armed while the poller has it. Only the poller disarms; then the connection
// belongs to a goroutine of its own (conn.drive), until that arms it again.
type poller struct {
	server *Server
	epoll  int
	file   *os.File // the same, as the runtime sees it
	raw    syscall.RawConn
	wakeup [2]int // a pipe: to write to it ends the wait

	events [pollBatch]syscall.EpollEvent
	ready  [pollBatch]*conn

	mu      sync.Mutex
	conns   []*conn // armed, by file descriptor
	leaving []*conn // to be disarmed
}

// pollBatch is how many connections are looked at after one wait.
const pollBatch = 256

func newPollers(s *Server) ([]*poller, error) {
	var all []*poller
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller(s)
		if err != nil {
			for _, p := range all {
				p.stop()
				p.run()
			}
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func newPoller(s *Server) (*poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll instance: %w", err)
	}
	p := &poller{server: s, epoll: epoll}
	if err := p.open(); err != nil {
		_ = syscall.Close(epoll) // of no use, and nothing is in it
		return nil, fmt.Errorf("open epoll instance: %w", err)
	}
	return p, nil
}

func (p *poller) open() error {
	if err := syscall.Pipe2(p.wakeup[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return err
	}
	if err := p.control(syscall.EPOLL_CTL_ADD, p.wakeup[0]); err != nil {
		return err
	}
	if err := syscall.SetNonblock(p.epoll, true); err != nil {
		return err
	}
	p.file = os.NewFile(uintptr(p.epoll), "epoll")
	var err error
	p.raw, err = p.file.SyscallConn()
	return err
}

func (p *poller) control(operation, fd int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(fd)}
	return syscall.EpollCtl(p.epoll, operation, fd, &event)
}

// run reads until stop, then closes the poller. No connection may be armed by then.
func (p *poller) run() {
	// It ends by the deadline that stop sets, or not at all.
	_ = p.raw.Read(func(uintptr) bool {
		for p.poll() {
		}
		return false
	})
	_ = p.file.Close() // nothing is in it any more
	for _, fd := range p.wakeup {
		_ = syscall.Close(fd)
	}
}

// stop ends run.
func (p *poller) stop() { _ = p.file.SetReadDeadline(past) }

// poll serves what is ready; false when nothing was.
func (p *poller) poll() bool {
	p.disarmLeaving()
	n, err := syscall.EpollWait(p.epoll, p.events[:], 0)
	if err == syscall.EINTR { // the system call's own number, never wrapped
		return true
	}
	if n <= 0 {
		return false
	}
	p.mu.Lock()
	for i, e := range p.events[:n] {
		p.ready[i] = nil
		if fd := int(e.Fd); fd < len(p.conns) {
			p.ready[i] = p.conns[fd]
		}
	}
	p.mu.Unlock()
	for i, c := range p.ready[:n] {
		if c == nil {
			p.wokenUp(int(p.events[i].Fd))
		} else if v := p.read(c); v != session.More {
			p.disarm(c)
			go c.drive(v) // ends with c.end, which Server.running counts, or gives c back
		}
		p.ready[i] = nil
	}
	return true
}

func (p *poller) wokenUp(fd int) {
	var b [64]byte
	_, _ = syscall.Read(fd, b[:]) // what was written means nothing; the rest wakes us again
}

// read feeds c what there is.
func (p *poller) read(c *conn) (v session.Verdict) {
	defer func() {
		if what := recover(); what != nil {
			c.panicked(what)
			v = session.Close
		}
	}()
	l := c.link.(*polledLink)
	n, err := syscall.Read(l.fd, c.intake.room(&p.server.blocks))
	if n > 0 {
		return c.received(n)
	}
	c.intake.unread(&p.server.blocks)
	if err == syscall.EAGAIN || err == syscall.EINTR { // as above
		return session.More
	}
	l.gone = true
	return session.Close
}

// arm gives c to the poller. false: it is to be closed.
func (p *poller) arm(c *conn, l *polledLink) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.interrupted {
		return false
	}
	p.mu.Lock()
	for l.fd >= len(p.conns) {
		p.conns = append(p.conns, nil)
	}
	p.conns[l.fd] = c
	p.mu.Unlock()
	l.armed = true
	if err := p.control(syscall.EPOLL_CTL_ADD, l.fd); err != nil {
		p.forget(l)
		return false
	}
	return true
}

// forget is the end of being armed. Only under the link's lock.
func (p *poller) forget(l *polledLink) {
	l.armed = false
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[l.fd] = nil
}

// disarm takes c from the poller, if it has it.
func (p *poller) disarm(c *conn) bool {
	l := c.link.(*polledLink)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed {
		return false
	}
	p.forget(l)
	_ = p.control(syscall.EPOLL_CTL_DEL, l.fd) // it is in there
	return true
}

// leave has the poller disarm c and close it. It does not block.
func (p *poller) leave(c *conn) {
	p.mu.Lock()
	p.leaving = append(p.leaving, c)
	first := len(p.leaving) == 1
	p.mu.Unlock()
	if first {
		_, _ = syscall.Write(p.wakeup[1], []byte{0}) // full is as good
	}
}

func (p *poller) disarmLeaving() {
	p.mu.Lock()
	leaving := p.leaving
	p.leaving = nil
	p.mu.Unlock()
	for _, c := range leaving {
		if p.disarm(c) {
			go c.drive(session.Close) // as in poll
		}
	}
}
