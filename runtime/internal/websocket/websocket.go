// Package websocket holds many WebSocket connections (RFC 6455) at little cost:
// one that says nothing has neither a goroutine nor a buffer, but waits in
// epoll, under TLS too. It knows frames and slow readers, and nothing of what is
// said.
//
// Its listeners have to wrap those of the HTTP server (Listen), so that a
// connection can be taken from Go's own poller after the handshake.
package websocket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// MaxMessage bounds a message from a client, in bytes.
	MaxMessage = 64 << 10
	// maxQueued and maxQueuedBytes bound what waits for a client that reads
	// slowly. Who has more to read is closed.
	maxQueued      = 4096
	maxQueuedBytes = 1 << 20
	// readSize is what is read at once, of a buffer that connections share.
	readSize = 4 << 10
	// maxSmall is how many frames that are no whole message a client may send
	// between two calls of Quiet.
	maxSmall = 1_000
	// closeWait is how long a client may take to answer a close.
	closeWait = 5 * time.Second
)

// Codes with which connections are closed, beside those of RFC 6455.
const (
	CodeTooSlow      = ws.StatusCode(4008)
	CodeUnauthorized = ws.StatusCode(4401)
	CodeTooMany      = ws.StatusCode(4429)
)

// Handler is what a connection belongs to. Its methods are called one at a
// time for one connection, Closed once and last.
type Handler interface {
	// Message takes a text, which is the caller's again afterwards.
	Message(c *Conn, text []byte)
	Closed(c *Conn)
}

// Server holds connections.
type Server struct{ poll *poller }

// NewServer makes a server; Close ends it.
func NewServer() (*Server, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &Server{poll}, nil
}

// Close stops listening to connections, which are not closed.
func (s *Server) Close() { s.poll.close() }

// ErrNotWrapped says that the HTTP server's listener was not made by Listen.
var ErrNotWrapped = errors.New("websocket: the connection does not come from a listener of this package")

// IsUpgrade reports whether a request asks for a WebSocket.
func IsUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// Upgrade answers the handshake, by one of the protocols. The connection is for
// Start, before which it can be sent to, and nothing is read. What is wrong with
// the handshake is answered; the error then tells what it was.
func (s *Server) Upgrade(w http.ResponseWriter, r *http.Request, protocol func(string) bool) (*Conn, error) {
	conn, rw, _, err := ws.HTTPUpgrader{Protocol: protocol, Timeout: closeWait}.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, fmt.Errorf("websocket: handshake: %w", err)
	}
	c := &Conn{}
	switch conn := conn.(type) {
	case *transport:
		c.transport = conn
	case *tls.Conn:
		c.tls = conn
		c.transport, _ = conn.NetConn().(*transport)
	}
	if c.transport == nil {
		_ = conn.Close()
		return nil, ErrNotWrapped
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	c.partial = bytes.Clone(early)
	if err := c.transport.detach(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// Start hands the connection to h and begins to read. After its error the
// connection is no more, and h is told nothing.
func (s *Server) Start(c *Conn, h Handler) error {
	c.handler = h
	return s.poll.add(c)
}

// Frame is a message for many: encoded once.
type Frame struct {
	bytes []byte
	// key, where it is not empty, has the frame take the place of one of the
	// same key that still waits.
	key string
}

// Text makes a frame of a text.
func Text(text []byte) *Frame { return &Frame{bytes: ws.MustCompileFrame(ws.NewTextFrame(text))} }

// Latest makes a frame that takes the place of those of the same key that a
// slow reader was not sent yet.
func Latest(key string, text []byte) *Frame {
	f := Text(text)
	f.key = key
	return f
}

// Len is how many bytes a frame has.
func (f *Frame) Len() int { return len(f.bytes) }

var ping = ws.MustCompileFrame(ws.NewPingFrame(nil))

// Conn is one client's. Its methods may be used by many at once.
type Conn struct {
	handler   Handler
	transport *transport
	tls       *tls.Conn
	// generation tells events of this connection from those of one whose
	// descriptor it has.
	generation int32
	// turn is who reads: nobody, somebody, or somebody who looks once more.
	turn turn

	mu sync.Mutex
	// queue is what the kernel has no room for, of queued bytes.
	queue  []*Frame
	queued int32
	closed bool
	// closing is set once a close frame was sent.
	closing bool
	// heard is set by what comes in, and small counts frames that are no whole
	// message; Quiet takes both back.
	heard bool
	small int32

	// Of who reads: what is not a whole frame yet, at first what came with the
	// handshake, and of a message in parts.
	partial []byte
	message []byte
	begun   bool
	inParts bool
	// deaf: the client broke the protocol, and is not listened to any more.
	deaf bool
}

// Send sends a frame, or keeps it until the client has read what is before it.
// A client with too much to read is closed with CodeTooSlow.
func (c *Conn) Send(f *Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.closing {
		return
	}
	if len(c.queue) == 0 && !c.transport.full() {
		c.write(f.bytes)
		return
	}
	if f.key != "" {
		for i, old := range c.queue {
			if old.key == f.key {
				c.queue = append(c.queue[:i], c.queue[i+1:]...)
				c.queued -= int32(len(old.bytes))
				break
			}
		}
	}
	if len(c.queue) >= maxQueued || int(c.queued)+len(f.bytes) > maxQueuedBytes {
		c.queue, c.queued = nil, 0
		c.closeWith(CodeTooSlow, "too much is waiting to be read: reload, and read faster")
		return
	}
	c.queue = append(c.queue, f)
	c.queued += int32(len(f.bytes))
}

// Waiting is how many frames the client was not sent yet.
func (c *Conn) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// write gives bytes to the transport, which keeps what the kernel does not
// take; c.mu is held.
func (c *Conn) write(b []byte) {
	var err error
	if c.tls != nil {
		_, err = c.tls.Write(b)
	} else {
		_, err = c.transport.Write(b)
	}
	if err != nil {
		c.shut()
	}
}

// flush sends what waits, as far as there is room.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if err := c.transport.flush(); err != nil {
		c.shut()
		return
	}
	for len(c.queue) > 0 && !c.transport.full() && !c.closed {
		f := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.queued -= int32(len(f.bytes))
		c.write(f.bytes)
	}
	if len(c.queue) == 0 {
		c.queue = nil
	}
}

// Ping asks for a sign of life.
func (c *Conn) Ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !c.closing && !c.transport.full() {
		c.write(ping)
	}
}

// Quiet reports whether nothing came in since it was last called.
func (c *Conn) Quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := !c.heard
	c.heard, c.small = false, 0
	return quiet
}

// Close closes with a code and a reason of 123 bytes at most, after what was
// sent before, and gives up on a client that does not answer.
func (c *Conn) Close(code ws.StatusCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeWith(code, reason)
}

func (c *Conn) closeWith(code ws.StatusCode, reason string) {
	if c.closed || c.closing {
		return
	}
	frame := ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason)))
	if len(c.queue) == 0 {
		c.write(frame)
	} else {
		c.queue = append(c.queue, &Frame{bytes: frame})
	}
	c.closing = true
	time.AfterFunc(closeWait, c.drop)
}

// Closing reports whether nothing is sent any more, nor anything heard.
func (c *Conn) Closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || c.closing
}

// drop ends the connection without a word.
func (c *Conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut()
}

// shut closes the socket; who reads then notices. c.mu is held.
func (c *Conn) shut() {
	if c.closed {
		return
	}
	c.closed = true
	c.queue, c.queued = nil, 0
	c.transport.hangUp()
}

// RemoteAddr is where the client is, or the last proxy on its way.
func (c *Conn) RemoteAddr() net.Addr { return c.transport.remote }

var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// serve reads what there is. It returns false at the end of the connection.
func (c *Conn) serve() bool {
	buffer := buffers.Get().(*[readSize]byte)
	defer buffers.Put(buffer)
	if !c.begun {
		early := c.partial
		c.begun, c.partial = true, nil
		if !c.take(early) {
			return false
		}
	}
	for {
		var n int
		var err error
		if c.tls != nil {
			n, err = c.tls.Read(buffer[:])
		} else {
			n, err = c.transport.Read(buffer[:])
		}
		if n > 0 && !c.take(buffer[:n]) {
			return false
		}
		switch {
		case errors.Is(err, errWouldBlock):
			return true
		case err != nil:
			return false
		}
	}
}

// refuse closes the connection of a client that broke the protocol. What it
// still sends is read, for it might not see the reason otherwise.
func (c *Conn) refuse(code ws.StatusCode, reason string) bool {
	c.Close(code, reason)
	c.deaf, c.partial, c.message = true, nil, nil
	return true
}

// take takes what came in, and keeps what is not a whole frame.
func (c *Conn) take(in []byte) bool {
	if c.deaf {
		return true
	}
	c.mu.Lock()
	c.heard = true
	c.mu.Unlock()
	for len(in) > 0 {
		header, payload, rest, err := c.next(in)
		var refusal refusal
		switch {
		case errors.As(err, &refusal):
			return c.refuse(refusal.code, refusal.reason)
		case err != nil: // the rest of the frame is still to come
			return true
		}
		ws.Cipher(payload, header.Mask, 0)
		if !c.frame(header, payload) {
			return false
		}
		if c.deaf {
			return true
		}
		in = rest
	}
	return true
}

// next cuts off the frame that in ends or begins with; what came of it before is
// in c.partial. The error is io.ErrUnexpectedEOF where it is not all there, and
// was kept. A long frame is copied once or twice, however small its pieces are.
func (c *Conn) next(in []byte) (header ws.Header, payload, rest []byte, err error) {
	for {
		known := in
		if len(c.partial) > 0 {
			known = c.partial
		}
		header, size, err := readHeader(known)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			if len(in) == 0 {
				return header, nil, nil, err
			}
			c.partial, in = append(c.partial, in[0]), in[1:]
			continue
		case err == nil:
			err = c.check(header)
		}
		if err != nil {
			return header, nil, nil, refusal{ws.StatusProtocolError, err.Error()}
		}
		if long := header.Length + int64(len(c.message)); long > MaxMessage && !header.OpCode.IsControl() {
			return header, nil, nil, refusal{ws.StatusMessageTooBig, fmt.Sprintf("a message may have %d bytes", MaxMessage)}
		}
		end := size + int(header.Length)
		if len(c.partial) == 0 && len(in) >= end {
			return header, in[size:end], in[end:], nil
		}
		n := min(end-len(c.partial), len(in))
		c.partial, in = append(c.partial, in[:n]...), in[n:]
		if len(c.partial) < end {
			return header, nil, nil, io.ErrUnexpectedEOF
		}
		payload, c.partial = c.partial[size:], nil
		return header, payload, in, nil
	}
}

// check reports what is wrong with a frame that comes next.
func (c *Conn) check(header ws.Header) error {
	state := ws.StateServerSide
	if c.inParts {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(header, state); err != nil {
		return err
	}
	if !header.Masked {
		return ws.ErrProtocolMaskRequired
	}
	return nil
}

// refusal is why a frame is not taken.
type refusal struct {
	code   ws.StatusCode
	reason string
}

func (r refusal) Error() string { return r.reason }

// floods counts a frame that is no whole message, and reports one too many.
func (c *Conn) floods() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.small++
	return c.small > maxSmall
}

// frame takes one frame.
func (c *Conn) frame(header ws.Header, payload []byte) bool {
	if (header.OpCode.IsControl() || !header.Fin) && c.floods() {
		return c.refuse(ws.StatusPolicyViolation, "too many pings or parts of messages")
	}
	switch header.OpCode {
	case ws.OpPing:
		c.control(ws.MustCompileFrame(ws.NewPongFrame(payload)))
	case ws.OpPong:
	case ws.OpClose:
		c.answerClose(payload)
		return false
	case ws.OpBinary:
		return c.refuse(ws.StatusUnsupportedData, "only text is understood")
	default:
		c.message = append(c.message, payload...)
		c.inParts = !header.Fin
		if c.inParts {
			return true
		}
		text := c.message
		c.message = nil
		if !utf8.Valid(text) {
			return c.refuse(ws.StatusInvalidFramePayloadData, "a text has to be UTF-8")
		}
		if !c.Closing() {
			c.handler.Message(c, text)
		}
	}
	return true
}

// control sends a control frame unless the client does not read them.
func (c *Conn) control(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !c.closing && !c.transport.full() && len(c.queue) == 0 {
		c.write(frame)
	}
}

func (c *Conn) answerClose(payload []byte) {
	code, reason := ws.ParseCloseFrameData(payload)
	if err := ws.CheckCloseFrameData(code, reason); err != nil && len(payload) > 0 {
		code = ws.StatusProtocolError
	}
	if len(payload) == 0 {
		code = ws.StatusNormalClosure
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !c.closing && len(c.queue) == 0 {
		c.write(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))
		c.closing = true
	}
}
