package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// conn is one caller's connection: plain HTTP/1.1, kept alive. It does as
// little as a client can, since it shares the processors with the server.
type conn struct {
	net  net.Conn
	in   *bufio.Reader
	body []byte
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{net: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
}

// do sends a request and returns status and body, which holds until the next.
func (c *conn) do(request []byte) (int, []byte, error) {
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
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, nil, err
	}
	length, chunked := 0, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		if len(line) <= len("\r\n") {
			break
		}
		if value, ok := header(line, "content-length"); ok {
			if length, err = strconv.Atoi(value); err != nil {
				return 0, nil, err
			}
		}
		if _, ok := header(line, "transfer-encoding"); ok {
			chunked = true
		}
	}
	if chunked {
		return status, nil, c.skipChunks()
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	_, err = io.ReadFull(c.in, c.body)
	return status, c.body, err
}

// skipChunks reads past a body of unknown length.
func (c *conn) skipChunks() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if _, err := c.in.Discard(int(n) + len("\r\n")); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

func header(line []byte, name string) (string, bool) {
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !bytes.EqualFold(key, []byte(name)) {
		return "", false
	}
	return string(bytes.TrimSpace(value)), true
}

func get(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n")
}

func post(path, body, token string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Cart-Token: %s\r\nContent-Length: %d\r\n\r\n%s",
		path, token, len(body), body)
}

// work is what one caller does once.
type work func(c *conn) error

// expect sends a request and wants a status.
func expect(c *conn, request []byte, status int) ([]byte, error) {
	got, body, err := c.do(request)
	if err == nil && got != status {
		err = fmt.Errorf("answered %d: %.300s", got, body)
	}
	return body, err
}

// drive lets callers work for a while, as fast as they can or, with a rate
// above zero, so many times a second in all; then latency counts from the
// moment at which each was due.
func drive(ctx context.Context, addr string, callers int, length time.Duration, rate float64, make func(caller int) work) (result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		wg.Go(func() {
			latencies, err := call(ctx, addr, begin, length, rate/float64(callers), float64(i)/float64(callers), make(i))
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, latencies...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if failed != nil || len(all) == 0 {
		return result{}, errors.Join(failed, ctx.Err())
	}
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[min(len(all)-1, int(share*float64(len(all))))] }
	return result{rate: float64(len(all)) / took.Seconds(), p50: at(.5), p95: at(.95), p99: at(.99)}, nil
}

func call(ctx context.Context, addr string, begin time.Time, length time.Duration, rate, phase float64, do work) (latencies []time.Duration, err error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.net.Close() }()
	for n := 0; ctx.Err() == nil && time.Since(begin) < length; n++ {
		due := time.Now()
		if rate > 0 {
			due = begin.Add(time.Duration((float64(n) + phase) / rate * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return latencies, ctx.Err()
			}
		}
		if err := do(c); err != nil {
			return latencies, err
		}
		latencies = append(latencies, time.Since(due))
	}
	return latencies, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await returns when something listens.
func await(ctx context.Context, addr string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-deadline:
			return errors.New("the server does not listen")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
