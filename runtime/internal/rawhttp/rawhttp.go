// Package rawhttp is a client for benchmarks: HTTP/1.1 by hand over kept
// connections. It does as little as a client can, since it shares the
// processors with the server that is measured.
package rawhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Conn is one caller's connection. One goroutine may use it.
type Conn struct {
	net net.Conn
	in  *bufio.Reader
}

// Dial connects to addr, from an address of its own where from is not nil.
func Dial(addr string, from net.IP) (*Conn, error) {
	var d net.Dialer
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{net: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.net.Close() }

// Patience bounds how long what follows may take.
func (c *Conn) Patience(d time.Duration) error { return c.net.SetDeadline(time.Now().Add(d)) }

// Do sends a request and returns the answer's status, and its body where that
// is to be kept or says what is wrong; else the body is read and dropped.
func (c *Conn) Do(request []byte, keep bool) (status int, body []byte, err error) {
	if _, err := c.net.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, nil, fmt.Errorf("not HTTP: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length, err := c.length()
	switch {
	case err != nil:
		return status, nil, err
	case keep || status >= http.StatusBadRequest:
		body, err = c.body(length)
		return status, body, err
	}
	return status, nil, c.skip(length)
}

// chunked is the length of a body that comes in chunks.
const chunked = -1

// length reads the header, and says how long the body is.
func (c *Conn) length() (n int, err error) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil || len(line) <= len("\r\n") {
			return n, err
		}
		if value, ok := header(line, "content-length"); ok {
			if n, err = strconv.Atoi(value); err != nil {
				return 0, err
			}
		}
		if _, ok := header(line, "transfer-encoding"); ok {
			n = chunked
		}
	}
}

func header(line []byte, name string) (string, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return "", false
	}
	return string(bytes.TrimSpace(line[len(name)+1:])), true
}

func (c *Conn) body(length int) ([]byte, error) {
	if length != chunked {
		body := make([]byte, length)
		_, err := io.ReadFull(c.in, body)
		return body, err
	}
	var body []byte
	for {
		n, err := c.chunk()
		if err != nil || n == 0 {
			return body, err
		}
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(c.in, body[len(body)-n:]); err != nil {
			return body, err
		}
	}
}

// chunk reads a chunk's size, and the end of the line before it.
func (c *Conn) chunk() (int, error) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		n, err := strconv.ParseInt(string(line), 16, 32)
		if err == nil && n == 0 {
			_, err = c.in.Discard(len("\r\n"))
		}
		return int(n), err
	}
}

func (c *Conn) skip(length int) error {
	if length != chunked {
		return c.drop(length)
	}
	for {
		n, err := c.chunk()
		if err != nil || n == 0 {
			return err
		}
		if err := c.drop(n); err != nil {
			return err
		}
	}
}

// drops are read into by all connections, a great deal at a time.
var drops = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (c *Conn) drop(n int) error {
	if n <= c.in.Buffered() {
		_, err := c.in.Discard(n)
		return err
	}
	drop := drops.Get().(*[64 << 10]byte)
	defer drops.Put(drop)
	for n > 0 {
		read, err := c.in.Read(drop[:min(n, len(drop))])
		if err != nil {
			return err
		}
		n -= read
	}
	return nil
}

// Get is a request.
func Get(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n")
}

// Post is a request with a JSON body, and a cart's token or none.
func Post(path, body, token string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Cart-Token: %s\r\nContent-Length: %d\r\n\r\n%s",
		path, token, len(body), body)
}

// Put is a request with a JSON body and an API key.
func Put(path, body, key string) []byte {
	return fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		path, key, len(body), body)
}

// After is the string that stands behind a key, such as "id":", in a body.
func After(body []byte, key string) string {
	_, rest, _ := bytes.Cut(body, []byte(key))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}
