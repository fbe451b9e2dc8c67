package websocket

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// turn says whether somebody reads a connection. Readiness is told once, so who
// reads looks once more where it was told meanwhile.
type turn struct{ state atomic.Int32 }

const (
	nobody = iota
	reading
	again
)

// take reports whether the caller is to read.
func (t *turn) take() bool {
	for {
		switch t.state.Load() {
		case nobody:
			if t.state.CompareAndSwap(nobody, reading) {
				return true
			}
		case reading:
			if t.state.CompareAndSwap(reading, again) {
				return false
			}
		default:
			return false
		}
	}
}

// leave reports whether the caller is done, and need not look once more.
func (t *turn) leave() bool {
	if t.state.CompareAndSwap(reading, nobody) {
		return true
	}
	t.state.Store(reading)
	return false
}

// poller waits for all connections by one epoll.
type poller struct {
	fd, wake int
	done     chan struct{}

	mu    sync.RWMutex
	conns map[int32]*Conn
	next  int32
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("websocket: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("websocket: epoll: %w", err)
	}
	p := &poller{fd: fd, wake: wake, done: make(chan struct{}), conns: map[int32]*Conn{}}
	go p.run()
	return p, nil
}

func (p *poller) close() {
	_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-p.done
	_ = unix.Close(p.wake)
	_ = unix.Close(p.fd)
}

// add waits for what a connection says. What it said already is read.
func (p *poller) add(c *Conn) error {
	fd := int32(c.transport.fd)
	p.mu.Lock()
	p.next++
	c.generation = p.next
	p.conns[fd] = c
	p.mu.Unlock()
	c.turn.take()
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: fd, Pad: c.generation,
	})
	if err != nil {
		p.remove(c)
		return fmt.Errorf("websocket: epoll: %w", err)
	}
	go p.read(c)
	return nil
}

// remove ends a connection, as far as it is ours.
func (p *poller) remove(c *Conn) {
	c.mu.Lock()
	_ = c.transport.flush() // a close frame, perhaps
	c.closed = true
	c.queue, c.queued = nil, 0
	c.mu.Unlock()
	p.mu.Lock()
	delete(p.conns, int32(c.transport.fd))
	p.mu.Unlock()
	c.transport.end()
}

func (p *poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(p.fd, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			if e.Fd == int32(p.wake) {
				return
			}
			p.mu.RLock()
			c := p.conns[e.Fd]
			p.mu.RUnlock()
			if c == nil || c.generation != e.Pad {
				continue
			}
			if e.Events&unix.EPOLLOUT != 0 && c.transport.full() {
				go c.flush()
			}
			if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 && c.turn.take() {
				go p.read(c)
			}
		}
	}
}

// read serves a connection until it has nothing to say, or for the last time.
func (p *poller) read(c *Conn) {
	for {
		if !c.serve() {
			p.end(c)
			return
		}
		if c.turn.leave() {
			return
		}
	}
}

func (p *poller) end(c *Conn) {
	p.remove(c)
	c.handler.Closed(c)
}
