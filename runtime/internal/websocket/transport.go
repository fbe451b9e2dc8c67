package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen wraps a listener of an HTTP server, before TLS, so that Upgrade can
// take its connections over.
func Listen(l net.Listener) net.Listener { return &listener{l} }

type listener struct{ net.Listener }

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &transport{Conn: conn, remote: conn.RemoteAddr(), fd: -1}, nil
}

// wouldBlock is what Read returns while there is nothing. It is temporary, which
// is how crypto/tls knows that it can be asked again.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock = wouldBlock{}

// transport is a TCP connection: at first as Go has it, and once it is detached
// a descriptor that is never waited for.
type transport struct {
	net.Conn
	remote net.Addr

	mu sync.Mutex
	fd int
	// out is what was written and the kernel did not take.
	out []byte
}

// detach takes the connection from Go's poller.
func (t *transport) detach() error {
	raw, ok := t.Conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("websocket: %T has no descriptor", t.Conn)
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if err := control.Control(func(its uintptr) {
		fd, err = unix.FcntlInt(its, unix.F_DUPFD_CLOEXEC, 0) // non-blocking, as it is
	}); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("websocket: taking a connection over: %w", err)
	}
	_ = t.Conn.Close() // its own descriptor
	t.Conn, t.fd = nil, fd
	return nil
}

func (t *transport) Read(p []byte) (int, error) {
	if t.Conn != nil {
		return t.Conn.Read(p)
	}
	for {
		n, err := unix.Read(t.fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errWouldBlock
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// maxOut bounds what is kept for the kernel, in bytes. A frame or two is there
// at most, unless a client under TLS asks for new keys and reads no answer.
const maxOut = 4 << 20

var errTooSlow = errors.New("websocket: too much is waiting to be read")

// Write takes everything: what the kernel has no room for is kept for flush.
func (t *transport) Write(p []byte) (int, error) {
	if t.Conn != nil {
		return t.Conn.Write(p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.out)+len(p) > maxOut {
		t.hangUp()
		return 0, errTooSlow
	}
	if len(t.out) > 0 {
		t.out = append(t.out, p...)
		return len(p), nil
	}
	n, err := t.send(p)
	if err != nil {
		return n, err
	}
	if n < len(p) {
		t.out = append([]byte(nil), p[n:]...)
	}
	return len(p), nil
}

// send gives the kernel what it takes.
func (t *transport) send(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := unix.Write(t.fd, p[sent:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return sent, nil
		case err != nil:
			return sent, err
		default:
			sent += n
		}
	}
	return sent, nil
}

// full reports whether something waits for the kernel.
func (t *transport) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.out) > 0
}

func (t *transport) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.send(t.out)
	t.out = t.out[n:]
	if len(t.out) == 0 {
		t.out = nil
	}
	return err
}

// hangUp ends the connection for both sides; the descriptor stays until who
// reads has seen it.
func (t *transport) hangUp() { _ = unix.Shutdown(t.fd, unix.SHUT_RDWR) }

// end gives the descriptor back; nobody reads any more.
func (t *transport) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hangUp()
	_ = unix.Close(t.fd)
	t.fd = -1
}

// RemoteAddr is where the other side is.
func (t *transport) RemoteAddr() net.Addr { return t.remote }

// SetWriteDeadline is what crypto/tls calls around its last words; a write to
// a detached connection does not wait.
func (t *transport) SetWriteDeadline(at time.Time) error {
	if t.Conn != nil {
		return t.Conn.SetWriteDeadline(at)
	}
	return nil
}

// Close is what net/http calls before the connection is detached, and crypto/tls
// whenever.
func (t *transport) Close() error {
	if t.Conn != nil {
		return t.Conn.Close()
	}
	t.hangUp()
	return nil
}
