package testbed

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// SlowServer stands before a server and is as slow as a test wants it.
type SlowServer struct {
	// Addr is host:port.
	Addr string
	// Delay, in nanoseconds, is how much later its answers come.
	Delay atomic.Int64
	// Answers are those that came.
	Answers atomic.Int64
	// Deaf has a Redis' subscribers hear nothing more, and nobody notice.
	Deaf atomic.Bool
}

// Slow starts one before the server at addr, without a delay.
func Slow(t testing.TB, addr string) *SlowServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &SlowServer{Addr: l.Addr().String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", addr)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go s.answer(near, far)
		}
	}()
	return s
}

func (s *SlowServer) answer(near io.WriteCloser, far io.Reader) {
	defer near.Close()
	buffer := make([]byte, 64<<10)
	subscribed := false
	for {
		n, err := far.Read(buffer)
		if err != nil {
			return
		}
		s.Answers.Add(1)
		subscribed = subscribed || bytes.Contains(buffer[:n], []byte("subscribe"))
		if subscribed && s.Deaf.Load() {
			continue
		}
		<-time.After(time.Duration(s.Delay.Load()))
		if _, err := near.Write(buffer[:n]); err != nil {
			return
		}
	}
}
